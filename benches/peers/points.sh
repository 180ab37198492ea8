# Listing ten thousand points from S3.
title points "points: listing $((10000 * scale / 100)) points of 100 sources from S3"
place=$(mktemp -d -p /dev/shm davit-points-XXXXXX)
"$work/many_points" "$place" $((10000 * scale / 100)) 100
rm -rf "$work/s3/data/bench/points" "$work/keys-points"
# The S3 server shows files as objects; what it keeps beside them (tags, types) a listing does not need.
cp -r "$place/repository" "$work/s3/data/bench/points"
cp -r "$place/keys" "$work/keys-points"
rm -rf "$place"
for round in $(seq "$rounds"); do
  once davit-points env DAVIT_REPOSITORY=s3://bench/points DAVIT_KEYS="$work/keys-points" "$davit" points
  once davit-points-json env DAVIT_REPOSITORY=s3://bench/points DAVIT_KEYS="$work/keys-points" "$davit" points --output json
  once davit-retain-dry-run env DAVIT_REPOSITORY=s3://bench/points DAVIT_KEYS="$work/keys-points" "$davit" retain --dry-run
done
table davit-points davit-points davit-points-json davit-retain-dry-run
rm -rf "$work/s3/data/bench/points" "$work/keys-points"
