# A thousand small tables: where the cost per object decides.
title small '1,000 small tables: backup and restore'
has_database small || sql postgres 'CREATE DATABASE small'
[ "$(sql small "SELECT count(*) FROM pg_class WHERE relname = 't1'")" = 1 ] ||
sql small "DO \$\$ BEGIN FOR n IN 1..1000 LOOP
  EXECUTE format('CREATE TABLE t%s (id integer PRIMARY KEY, name text, at timestamptz DEFAULT now())', n);
  EXECUTE format('INSERT INTO t%s (id, name) SELECT i, md5(i::text) FROM generate_series(1, 100) i', n);
  EXECUTE format('CREATE INDEX ON t%s (name)', n); END LOOP; END \$\$"
sql small 'ANALYZE'

for round in $(seq "$rounds"); do
  fresh_repository small
  once davit-backup "$davit" backup "postgres://postgres@127.0.0.1:$pg_port/small" --jobs 2
  rm -rf "$work/small"; once pg_dump-Fd-j2-Z1 "$pg_bin/pg_dump" -Fd -j2 -Z1 -f "$work/small" small
  sql postgres 'DROP DATABASE IF EXISTS copy WITH (FORCE)'
  once davit-restore-sent "$davit" restore small@latest --into "postgres://postgres@127.0.0.1:$pg_port/copy" --create --proof sent --jobs 2
  sql postgres 'DROP DATABASE IF EXISTS copy WITH (FORCE)'
  once davit-restore-read-back "$davit" restore small@latest --into "postgres://postgres@127.0.0.1:$pg_port/copy" --create --proof read-back --jobs 2
  sql postgres 'DROP DATABASE copy WITH (FORCE)'; sql postgres 'CREATE DATABASE copy'
  once pg_restore-j2 "$pg_bin/pg_restore" -j2 -d copy "$work/small"
done
table davit-backup davit-backup pg_dump-Fd-j2-Z1
table davit-restore-sent davit-restore-sent davit-restore-read-back pg_restore-j2
sql postgres 'DROP DATABASE IF EXISTS copy WITH (FORCE)'
