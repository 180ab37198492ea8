# For the picture, where the packages are installed: a clone of the live database, and a copy of the server's files.
title skewed-clone 'skewed database, for the picture: pgcopydb clones the live database, pgBackRest copies the files'
. "$here/skewed-data.sh"
labels=()
for round in $(seq "$rounds"); do
  if command -v pgcopydb >/dev/null; then
    sql postgres 'DROP DATABASE IF EXISTS copy WITH (FORCE)'; sql postgres 'CHECKPOINT'; sql postgres 'CREATE DATABASE copy'
    rm -rf "$work/pgcopydb"
    once pgcopydb-clone pgcopydb clone --dir "$work/pgcopydb" --table-jobs 2 --index-jobs 2 --split-tables-larger-than 200MB \
      --source "postgres://postgres@127.0.0.1:$pg_port/skewed" --target "postgres://postgres@127.0.0.1:$pg_port/copy"
    sql postgres 'DROP DATABASE copy WITH (FORCE)'
    rm -rf "$work/pgcopydb"
    [ "$round" -gt 1 ] || labels+=(pgcopydb-clone)
  fi
  if command -v pgbackrest >/dev/null && [ "$(id -u)" -eq 0 ]; then
    rm -rf "$work/pgbackrest"; install -d -o postgres "$work/pgbackrest"
    sql postgres 'CHECKPOINT'
    rest=(setpriv --reuid=postgres --regid=postgres --init-groups pgbackrest --stanza=bench --repo1-path="$work/pgbackrest/repo"
      --log-path="$work/pgbackrest" --lock-path="$work/pgbackrest" --pg1-path="$work/pg/data" --pg1-port="$pg_port"
      --pg1-socket-path="$work/pg" --pg1-user=postgres --log-level-console=error)
    "${rest[@]}" --no-online stanza-create
    once pgbackrest-backup "${rest[@]}" --no-archive-check --process-max=2 --compress-type=zst --compress-level=1 --start-fast backup
    [ "$round" -gt 1 ] || labels+=(pgbackrest-backup)
    printf 'pgBackRest wrote %s bytes (all databases of the server, indexes included)\n' "$(bytes_of "$work/pgbackrest/repo")"
    rm -rf "$work/pgbackrest"
  fi
done
[ ${#labels[@]} -eq 0 ] || table "${labels[0]}" "${labels[@]}"
