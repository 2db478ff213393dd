#!/bin/sh
# Makes internal/gen from ../proto, with the versions that tools/go.mod pins and without protoc.
#   ./generate.sh          writes it
#   ./generate.sh --check  writes nothing; fails where what is committed isn't current
set -eu
cd "$(dirname "$0")"
here=$PWD

new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
(cd tools && go tool buf generate "$here/../proto" --template "$here/buf.gen.yaml" --output "$new")

if [ "${1:-}" = --check ]; then
  diff -r "$new" internal/gen || { echo "internal/gen isn't current: run go-service/generate.sh" >&2; exit 1; }
  exit 0
fi
rm -rf internal/gen
mkdir -p internal
cp -r "$new" internal/gen
