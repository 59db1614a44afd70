#!/usr/bin/env bash
# The documentation site: the reference of everything that the package exports, and the pages of docs/.
#
#   scripts/docs.sh [FOLDER]     into site/html, or FOLDER
#
# Fails where an export says nothing, a type that one names is missing, or a link leads nowhere. typedoc reads types with a
# TypeScript of its own (site/package.json), fetched from the npm registry the first time.
set -euo pipefail
cd "$(dirname "$0")/../site"
out=$(realpath -m "${1:-html}")

[ -e node_modules/typedoc ] || npm ci --no-audit --no-fund --silent
node_modules/.bin/typedoc --out "$out"
# typedoc has checked what it wrote; this reads every page as a browser does. Pages elsewhere are not asked for.
node_modules/.bin/linkinator "$out" --recurse --check-fragments --silent --skip '^https?://(?!localhost)'
echo "site: $out/index.html"
