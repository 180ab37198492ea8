# What a second backup uploads: nothing changed, one per cent of the pages in a row changed, one row in every thousand.
title second 'second backup: bytes uploaded'
sql postgres 'DROP DATABASE IF EXISTS again WITH (FORCE)'
sql postgres 'CREATE DATABASE again'
psql -X -q -v ON_ERROR_STOP=1 -d again -v rows=$((9600000 * scale / 100)) -f "$here/skewed.sql"
sql again 'ALTER TABLE events SET (autovacuum_enabled = off)'
fresh_repository again
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
stored() { bytes_of "$work/s3/data/bench/again"; }
report() {
  local before after bytes
  before=$(stored)
  bytes=$("$davit" backup "postgres://postgres@127.0.0.1:$pg_port/again" --output json 2>"$work/err" | field bytes_stored)
  after=$(stored)
  awk -v l="$1" -v n=$((after - before)) -v b="$bytes" 'BEGIN {printf "%-34s %14d of %14d bytes: %7.3f %%\n", l, n, b, 100 * n / b}'
}
report first
report unchanged
rows=$(sql again 'SELECT count(*) FROM events')
# An update of a contiguous stretch.
sql again "UPDATE events SET state = 'audited' WHERE id BETWEEN $((rows / 2)) AND $((rows / 2 + rows / 100))"
report 'contiguous 1 % of pages changed'
sql again "UPDATE events SET state = 'audited' WHERE id % 1000 = 7"
report 'scattered rows changed'
sql postgres 'DROP DATABASE again WITH (FORCE)'
