#!/bin/sh
# Fetches hls.js from npm and puts it, unchanged, under vault/web/vendor, with its licence and its checksums.
#
#   scripts/update-web-vendor.sh 1.7.4
#
# The full build, not the light one: the light build cannot play audio renditions, which every recording here has.
set -eu

version=${1:?which version? e.g. scripts/update-web-vendor.sh 1.7.4}
web=$(cd "$(dirname "$0")/../vault/web" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

cd "$work"
npm pack --silent "hls.js@$version" >/dev/null # npm checks the registry's integrity of what it downloads
tar -xzf "hls.js-$version.tgz"
cp package/dist/hls.min.js "$web/vendor/hls.min.js"
cp package/LICENSE "$web/vendor/LICENSE"

sha256=$(sha256sum package/dist/hls.min.js | cut -d' ' -f1)
integrity=sha384-$(openssl dgst -sha384 -binary package/dist/hls.min.js | openssl base64 -A)
package=$(npm view --silent "hls.js@$version" dist.integrity)

cat >"$web/vendor/VENDOR.json" <<JSON
{
  "name": "hls.js",
  "version": "$version",
  "license": "Apache-2.0",
  "source": "https://registry.npmjs.org/hls.js/-/hls.js-$version.tgz",
  "source_integrity": "$package",
  "file": "hls.min.js",
  "taken_from": "dist/hls.min.js",
  "sha256": "$sha256",
  "integrity": "$integrity"
}
JSON

sed -i "s|\(hls\.min\.js\" integrity=\"\)[^\"]*|\1$integrity|" "$web/index.html"
grep -q "$integrity" "$web/index.html" || {
    echo "index.html has no integrity attribute to update" >&2
    exit 1
}
echo "hls.js $version, $sha256"
