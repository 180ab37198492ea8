# The skewed database, and what its restores need: a recovery point and two dumps. Sourced; makes what is missing.
if ! has_database skewed; then
  sql postgres 'CREATE DATABASE skewed'
  psql -X -q -v ON_ERROR_STOP=1 -d skewed -v rows=$((9600000 * scale / 100)) -f "$here/skewed.sql"
  sql skewed 'CHECKPOINT'
fi
sql skewed "SELECT 'heap ' || pg_size_pretty(sum(pg_table_size(oid))) || ', events ' || pg_size_pretty(pg_table_size('events')) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
