# One large table: what a dump that splits only between tables cannot spread over two cores.
printf '\n# skewed database: backup to S3\n'
sql postgres 'CREATE DATABASE skewed'
psql -X -q -v ON_ERROR_STOP=1 -d skewed -v rows=$((9600000 * scale / 100)) -f "$here/skewed.sql"
sql skewed "SELECT 'heap ' || pg_size_pretty(sum(pg_table_size(oid))) || ', events ' || pg_size_pretty(pg_table_size('events')) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
sql skewed 'CHECKPOINT'

: >"$results"
for round in $(seq "$rounds"); do
  fresh_repository "skewed-$round"
  once davit "$davit" backup "postgres://postgres@127.0.0.1:$pg_port/skewed" --jobs 2
  davit_bytes=$(bytes_of "$work/s3/data/bench/skewed-$round")
  rm -rf "$work/dump"; once pg_dump-Fd-j2 "$pg_bin/pg_dump" -Fd -j2 -f "$work/dump" skewed
  default_bytes=$(bytes_of "$work/dump")
  rm -rf "$work/dump1"; once pg_dump-Fd-j2-Z1 "$pg_bin/pg_dump" -Fd -j2 -Z1 -f "$work/dump1" skewed
  z1_bytes=$(bytes_of "$work/dump1")
  once pg_dump-gzip bash -c "'$pg_bin/pg_dump' skewed | gzip >'$work/dump.sql.gz'"
done
table davit davit pg_dump-Fd-j2-Z1 pg_dump-Fd-j2 pg_dump-gzip
printf 'bytes written: davit %s, pg_dump -Z1 %s, pg_dump default %s, gzip %s\n' "$davit_bytes" "$z1_bytes" "$default_bytes" "$(stat -c %s "$work/dump.sql.gz")"

printf '\n# skewed database: restore (davit from S3, the others from local files)\n'
restore_into() { sql postgres "DROP DATABASE IF EXISTS $1 WITH (FORCE)"; sql postgres 'CHECKPOINT'; }
: >"$results"
for round in $(seq "$rounds"); do
  restore_into copy
  once davit-sent "$davit" restore skewed@latest --into "postgres://postgres@127.0.0.1:$pg_port/copy" --create --proof sent --jobs 2
  restore_into copy
  once davit-read-back "$davit" restore skewed@latest --into "postgres://postgres@127.0.0.1:$pg_port/copy" --create --proof read-back --jobs 2
  restore_into copy; sql postgres 'CREATE DATABASE copy'
  once pg_restore-j2 "$pg_bin/pg_restore" -j2 -d copy "$work/dump1"
  restore_into copy; sql postgres 'CREATE DATABASE copy'
  once gunzip-psql bash -c "gunzip -c '$work/dump.sql.gz' | psql -X -q -d copy"
done
table davit-sent davit-sent davit-read-back pg_restore-j2 gunzip-psql

if command -v pgcopydb >/dev/null; then
  printf '\n# for the picture: a clone of the live database\n'
  : >"$results"
  restore_into copy; sql postgres 'CREATE DATABASE copy'
  once pgcopydb pgcopydb clone --dir "$work/pgcopydb" --table-jobs 2 --index-jobs 2 --split-tables-larger-than 200MB \
    --source "postgres://postgres@127.0.0.1:$pg_port/skewed" --target "postgres://postgres@127.0.0.1:$pg_port/copy"
  table pgcopydb pgcopydb
fi
sql postgres 'DROP DATABASE IF EXISTS copy WITH (FORCE)'
