# Eight tables of the same size, each with rows of its own: where pg_dump's own parallelism does well. Its files still have to be uploaded.
title even 'even database: eight equal tables, backup to S3'
if ! has_database even; then
  sql postgres 'CREATE DATABASE even'
  for table in 1 2 3 4 5 6 7 8; do
    sql even "CREATE TABLE part_$table AS SELECT i AS id, md5('$table.' || i) || ' an even share of the rows' AS payload, i % 1000 AS bucket FROM generate_series(1, $((1200000 * scale / 100))) i"
  done
  sql even 'VACUUM ANALYZE'
  sql even 'CHECKPOINT'
fi

upload() {
  python3 - "$1" <<'PYTHON'
import concurrent.futures, hashlib, hmac, http.client, os, sys, datetime, urllib.parse
folder = sys.argv[1]
end = urllib.parse.urlparse(os.environ["AWS_ENDPOINT_URL_S3"])
def put(name):
    body = open(os.path.join(folder, name), "rb").read()
    path, now = f"/bench/upload/{name}", datetime.datetime.now(datetime.timezone.utc)
    stamp, day, digest = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d"), hashlib.sha256(body).hexdigest()
    scope = f"{day}/{os.environ['AWS_REGION']}/s3/aws4_request"
    signed = "host;x-amz-content-sha256;x-amz-date"
    request = f"PUT\n{path}\n\nhost:{end.netloc}\nx-amz-content-sha256:{digest}\nx-amz-date:{stamp}\n\n{signed}\n{digest}"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (day, os.environ["AWS_REGION"], "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    connection = http.client.HTTPConnection(end.netloc)
    connection.request("PUT", path, body, {
        "x-amz-content-sha256": digest, "x-amz-date": stamp,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}"})
    answer = connection.getresponse()
    assert answer.status == 200, (answer.status, answer.read())
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    list(pool.map(put, os.listdir(folder)))
PYTHON
}
export -f upload

for round in $(seq "$rounds"); do
  fresh_repository even
  once davit "$davit" backup "postgres://postgres@127.0.0.1:$pg_port/even" --jobs 2
  rm -rf "$work/even"
  once pg_dump-Z1+upload bash -c "'$pg_bin/pg_dump' -Fd -j2 -Z1 -f '$work/even' even && upload '$work/even'"
done
table davit davit pg_dump-Z1+upload
printf 'bytes written: davit %s, pg_dump -Z1 %s\n' "$(bytes_of "$work/s3/data/bench/even")" "$(bytes_of "$work/even")"
rm -rf "$work/even" "$work/s3/data/bench/upload"
