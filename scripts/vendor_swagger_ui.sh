#!/usr/bin/env bash
# Puts a version of Swagger UI where the services embed it; needs npm.
#   scripts/vendor_swagger_ui.sh 5.35.0
set -euo pipefail

version=${1:?usage: scripts/vendor_swagger_ui.sh VERSION}
assets=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../shared/service/assets/swagger-ui" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$work"
npm pack --silent "swagger-ui-dist@$version" >/dev/null
tar -xzf swagger-ui-dist-*.tgz
cp package/LICENSE package/NOTICE "$assets/"
cp package/swagger-ui-bundle.js.LICENSE.txt "$assets/LICENSES-of-parts.txt"
for file in swagger-ui-bundle.js swagger-ui.css; do
    # Without a time in it, so that the same version gives the same bytes.
    sed '/^\/[/*]# sourceMappingURL/d' "package/$file" | gzip -9n >"$assets/$file.gz"
done
sed -i "1s/^Swagger UI [0-9.]*/Swagger UI $version/" "$assets/README.md"
