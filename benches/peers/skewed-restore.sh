# Indexes and foreign keys of one large table: what comes after its rows takes as long as these.
title skewed-restore 'skewed database: restore (davit from S3, the others from local files)'
. "$here/skewed-data.sh"
if [ -d "$work/s3/data/bench/skewed" ]; then
  export DAVIT_REPOSITORY=s3://bench/skewed DAVIT_KEYS=$work/keys-skewed
else
  fresh_repository skewed
  "$davit" backup "postgres://postgres@127.0.0.1:$pg_port/skewed" >/dev/null 2>&1
fi
[ -d "$work/dump1" ] || "$pg_bin/pg_dump" -Fd -j2 -Z1 -f "$work/dump1" skewed
[ -f "$work/dump.sql.gz" ] || "$pg_bin/pg_dump" skewed | gzip >"$work/dump.sql.gz"
# Nobody pays for the server's first touch of its memory.
sql skewed "COPY (SELECT * FROM events WHERE ctid >= '(0,0)') TO STDOUT" >/dev/null
# Each begins with the same server: nothing to write out for the one before it.
no_copy() { sql postgres 'DROP DATABASE IF EXISTS copy WITH (FORCE)'; sql postgres 'CHECKPOINT'; sync; }
for round in $(seq "$rounds"); do
  no_copy
  once davit-sent "$davit" restore skewed@latest --into "postgres://postgres@127.0.0.1:$pg_port/copy" --create --proof sent --jobs 2
  no_copy
  once davit-read-back "$davit" restore skewed@latest --into "postgres://postgres@127.0.0.1:$pg_port/copy" --create --proof read-back --jobs 2
  no_copy; sql postgres 'CREATE DATABASE copy'
  once pg_restore-j2 "$pg_bin/pg_restore" -j2 -d copy "$work/dump1"
  no_copy; sql postgres 'CREATE DATABASE copy'
  once gunzip-psql bash -c "gunzip -c '$work/dump.sql.gz' | psql -X -q -d copy"
done
table davit-sent davit-sent davit-read-back pg_restore-j2 gunzip-psql
no_copy
