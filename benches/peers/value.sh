# Peak memory with one very large value: the bar is 256 MiB and three times the largest row.
title value 'peak memory at the defaults, one value of 200 MiB'
if ! has_database large_value; then
  sql postgres 'CREATE DATABASE large_value'
  sql large_value "CREATE TABLE documents (id integer, body text); INSERT INTO documents SELECT 1, string_agg(md5(i::text), '') FROM generate_series(1, 6553600) i"
fi
fresh_repository large-value
once backup-200MB-value "$davit" backup "postgres://postgres@127.0.0.1:$pg_port/large_value"
sql postgres 'DROP DATABASE IF EXISTS copy WITH (FORCE)'
once restore-200MB-value "$davit" restore large_value@latest --into "postgres://postgres@127.0.0.1:$pg_port/copy" --create
table backup-200MB-value backup-200MB-value restore-200MB-value
sql postgres 'DROP DATABASE copy WITH (FORCE)'
