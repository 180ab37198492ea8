# Peak memory at the defaults, over sizes of the database. DAVIT_BENCH_SIZES: which, in GB.
title memory 'peak memory at the defaults, by size of the database'
labels=()
for gigabytes in ${DAVIT_BENCH_SIZES:-0.5 2 4}; do
  labels+=("backup-${gigabytes}GB" "restore-${gigabytes}GB")
  sql postgres 'DROP DATABASE IF EXISTS sized WITH (FORCE)'
  sql postgres 'CREATE DATABASE sized'
  psql -X -q -v ON_ERROR_STOP=1 -d sized -v rows="$(python3 -c "print(int(6000000 * $gigabytes * $scale / 100))")" -f "$here/skewed.sql"
  fresh_repository sized
  once "backup-${gigabytes}GB" "$davit" backup "postgres://postgres@127.0.0.1:$pg_port/sized"
  sql postgres 'DROP DATABASE IF EXISTS copy WITH (FORCE)'
  once "restore-${gigabytes}GB" "$davit" restore sized@latest --into "postgres://postgres@127.0.0.1:$pg_port/copy" --create
  sql postgres 'DROP DATABASE copy WITH (FORCE)'
done
sql postgres 'DROP DATABASE sized WITH (FORCE)'
table "${labels[0]}" "${labels[@]}"
rm -rf "$work/s3/data/bench/sized"
