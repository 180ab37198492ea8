# Peak memory of a backup at its defaults, over sizes of the database, and with one very large value.
printf '\n# memory of a backup at its defaults\n'
: >"$results"
for gigabytes in 0.5 2 4; do
  sql postgres 'DROP DATABASE IF EXISTS sized WITH (FORCE)'
  sql postgres 'CREATE DATABASE sized'
  psql -X -q -v ON_ERROR_STOP=1 -d sized -v rows="$(python3 -c "print(int(6000000 * $gigabytes * $scale / 100))")" -f "$here/skewed.sql"
  fresh_repository "sized-$gigabytes"
  once "backup-${gigabytes}GB" "$davit" backup "postgres://postgres@127.0.0.1:$pg_port/sized"
  sql postgres 'DROP DATABASE IF EXISTS copy WITH (FORCE)'
  once "restore-${gigabytes}GB" "$davit" restore sized@latest --into "postgres://postgres@127.0.0.1:$pg_port/copy" --create
  sql postgres 'DROP DATABASE copy WITH (FORCE)'
done
sql postgres 'DROP DATABASE sized WITH (FORCE)'
sql postgres 'CREATE DATABASE large_value'
sql large_value "CREATE TABLE documents (id integer, body text); INSERT INTO documents SELECT 1, string_agg(md5(i::text), '') FROM generate_series(1, 6553600) i"
fresh_repository large-value
once backup-200MB-value "$davit" backup "postgres://postgres@127.0.0.1:$pg_port/large_value"
once restore-200MB-value "$davit" restore large_value@latest --into "postgres://postgres@127.0.0.1:$pg_port/copy" --create
table backup-0.5GB backup-0.5GB restore-0.5GB backup-2GB restore-2GB backup-4GB restore-4GB backup-200MB-value restore-200MB-value
sql postgres 'DROP DATABASE IF EXISTS copy WITH (FORCE)'
sql postgres 'DROP DATABASE large_value WITH (FORCE)'
