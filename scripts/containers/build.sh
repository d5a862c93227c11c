#!/usr/bin/env bash
# Inside of the build image: builds the release binaries from . and lays them, with what they need at run time, into
# the folder $1. ./target is a cache that all clones of this machine share.
set -euo pipefail

out=$1
binaries=(data-source stg dds cdm strata)
sums=target/sources.sha256

# cargo takes a source for unchanged that is older than what was built of it, but the clone before may have been
# another. So every source is old, and new is what differs from the sources of the last build.
now=$(mktemp)
find . -path ./target -prune -o -type f -print0 | sort -z | xargs -0 sha256sum >"$now"
find . -path ./target -prune -o -print0 | xargs -0 touch -h -d 2000-01-01
[[ -f $sums ]] || : >"$sums"
comm -13 <(sort "$sums") <(sort "$now") | cut -c 67- | xargs -r -d '\n' touch
# A build that fails has built some of them: then all are new to the next.
rm "$sums"

cargo build --release --bins --locked "${binaries[@]/#/--package=}"
mv "$now" "$sums"

mkdir -p "$out/bin" "$out/lib"
for binary in "${binaries[@]}"; do
    strip -o "$out/bin/$binary" "target/release/$binary"
    # Of what they link, the base image holds all but OpenSSL and zlib.
    ldd "$out/bin/$binary" | awk '/lib(ssl|crypto|z)\.so/ {print $3}' | xargs -r cp -L -u -t "$out/lib"
done
cp /etc/ssl/certs/ca-certificates.crt "$out/"
