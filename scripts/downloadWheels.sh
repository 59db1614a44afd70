#!/usr/bin/env bash
# Wheels of scripts/nvidiaWheels.txt into a folder, each checked against its digest: a file that differs from NVIDIA's is refused.
#
#   scripts/downloadWheels.sh FOLDER NAME... [-- PIP_OPTION...]
#
# Needs python3 with pip, and the index that pip is configured for. Exit codes: 0 there, 2 a name that is not pinned, 3 pip failed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
folder=$1
shift
names=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do names+=("$1"); shift; done
[ $# -gt 0 ] && shift

pinned=$(mktemp)
trap 'rm -f "$pinned"' EXIT
for name in "${names[@]}"; do
  grep "^$name==" "$here/nvidiaWheels.txt" >>"$pinned" || { echo "Expected $name in scripts/nvidiaWheels.txt but it is not pinned there." >&2; exit 2; }
done

echo "Fetching $(cut -d ' ' -f 1 "$pinned" | paste -s -d ' ')" >&2
python3 -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: "$@" \
  --dest "$folder" -r "$pinned" >&2 && exit 0
{
  echo "Expected pip to download these wheels but it failed (its message is above)."
  echo "Possible solutions:"
  echo "- go online, or point pip at a mirror (PIP_INDEX_URL), and run this again;"
  echo "- on another machine run: python3 -m pip download --no-deps --only-binary :all: $(cut -d ' ' -f 1 "$pinned" | paste -s -d ' ')"
  echo "  and here set PIP_NO_INDEX=1 PIP_FIND_LINKS=<folder of the wheels>; the digests are checked all the same."
} >&2
exit 3
