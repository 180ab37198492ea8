# One large table: what a dump that splits only between tables cannot spread over two cores.
title skewed-backup 'skewed database: backup (davit to S3, the others to local files)'
. "$here/skewed-data.sh"
# Nobody pays for the server's first touch of its memory.
sql skewed "COPY (SELECT * FROM events WHERE ctid >= '(0,0)') TO STDOUT" >/dev/null
for round in $(seq "$rounds"); do
  fresh_repository skewed
  once davit "$davit" backup "postgres://postgres@127.0.0.1:$pg_port/skewed" --jobs 2
  rm -rf "$work/dump1"; once pg_dump-Fd-j2-Z1 "$pg_bin/pg_dump" -Fd -j2 -Z1 -f "$work/dump1" skewed
  rm -rf "$work/dump"; once pg_dump-Fd-j2 "$pg_bin/pg_dump" -Fd -j2 -f "$work/dump" skewed
  once pg_dump-gzip bash -c "'$pg_bin/pg_dump' skewed | gzip >'$work/dump.sql.gz'"
done
table davit davit pg_dump-Fd-j2-Z1 pg_dump-Fd-j2 pg_dump-gzip
printf 'bytes written: davit %s, pg_dump -Z1 %s, pg_dump default %s, gzip %s\n' "$(bytes_of "$work/s3/data/bench/skewed")" \
  "$(bytes_of "$work/dump1")" "$(bytes_of "$work/dump")" "$(stat -c %s "$work/dump.sql.gz")"
rm -rf "$work/dump"
