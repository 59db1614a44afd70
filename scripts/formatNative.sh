#!/usr/bin/env bash
# C++ and CUDA sources by .clang-format: checks them, as `npm run lint` does, or formats them with --write.
# Only with the version that package.json pins, since each version formats a little differently.
set -euo pipefail
cd "$(dirname "$0")/.."

format=node_modules/.bin/clang-format
if [ ! -x "$format" ]; then
  echo "Expected $format, found none: the C++ sources are not checked. Install it with: npm ci" >&2
  exit 1
fi
case "${1-}" in
  '') options=(--dry-run --Werror) ;;
  --write) options=(-i) ;;
  *) echo "Expected --write or nothing but received $1." >&2; exit 2 ;;
esac
find native test \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) -exec "$format" "${options[@]}" {} +
