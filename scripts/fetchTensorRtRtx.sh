#!/usr/bin/env bash
# TensorRT-RTX without an installation: NVIDIA's own wheel from the Python package index, unpacked into the cache folder, and
# its C++ headers (Apache-2.0), which no wheel holds and which the Rust package trtx-sys carries unchanged. `npm run
# build:native` finds both. It builds engines on machines without a GPU (running them needs one). Prints the folder of the
# libraries as its last line.
#
#   scripts/fetchTensorRtRtx.sh           fetch when it is not there yet
#   scripts/fetchTensorRtRtx.sh --check   only look: prints the folder, or ends with code 3 when it is not there
#
# The folder is ${SEMANTICVLA_TOOLCHAINS:-${XDG_CACHE_HOME:-~/.cache}/semanticvla}/tensorrt-rtx-<version>/tensorrt_rtx_libs;
# the headers are in include/ beside it. Where they cannot be fetched it says so and goes on: TENSORRT_ROOT names others.
# Needs python3 with pip, and the index that pip is configured for. Several may run at once: one fetches, the others wait.
# Exit codes: 0 there, 2 bad option, 3 not there and could not be fetched.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
package=tensorrt-rtx-cu13-libs
version=$(sed -n "s/^$package==\\([^ ]*\\) .*/\\1/p" "$here/nvidiaWheels.txt")
# The oldest headers that the code needs: a module compiled against them works with every later 1.x.
crate='https://static.crates.io/crates/trtx-sys/trtx-sys-0.9.1+rtx1.7.crate'
digest=5480ee056292951daa1bc74532162d6cb75190f091e45d7d97c0c356916ae171
headers=TensorRT-Headers/TRT-RTX-1.6

base=${SEMANTICVLA_TOOLCHAINS:-${XDG_CACHE_HOME:-$HOME/.cache}/semanticvla}
tree=$base/tensorrt-rtx-$version
libs=$tree/tensorrt_rtx_libs

case "${1-}" in
  '') ;;
  --check)
    # The folder is renamed into place when complete, so its presence is enough.
    if [ -d "$libs" ]; then echo "$libs"; exit 0; fi
    echo "Expected TensorRT-RTX $version at $libs but nothing is there. Run scripts/fetchTensorRtRtx.sh." >&2
    exit 3 ;;
  *)
    echo "Expected no option or --check but received $1." >&2
    exit 2 ;;
esac

fetch_headers() {
  python3 - "$crate" "$digest" "$headers" "$1" <<'EOF'
import hashlib, io, pathlib, sys, tarfile, urllib.request
url, digest, headers, folder = sys.argv[1:]
data = urllib.request.urlopen(url, timeout=60).read()
found = hashlib.sha256(data).hexdigest()
if found != digest:
    sys.exit(f'Expected sha256 {digest} of {url} but found {found}.')
target = pathlib.Path(folder)
target.mkdir(parents=True)
with tarfile.open(fileobj=io.BytesIO(data)) as archive:
    for member in archive:
        path = pathlib.PurePosixPath(member.name)
        if member.isfile() and path.match(f'*/{headers}/*.h'):
            (target / path.name).write_bytes(archive.extractfile(member).read())
EOF
}

if [ -d "$libs" ] && [ -d "$tree/include" ]; then
  echo "TensorRT-RTX $version is there already." >&2
  echo "$libs"
  exit 0
fi

mkdir -p "$base"
exec 9>"$base/tensorrt-rtx-$version.lock"
flock 9
work=$(mktemp -d "$base/tensorrt-rtx-$version.XXXXXX")
trap 'rm -rf "$work"' EXIT
if [ ! -d "$libs" ]; then
  "$here/downloadWheels.sh" "$work/wheels" "$package" || {
    echo "- or install TensorRT or TensorRT-RTX yourself; SEMANTICVLA_TENSORRT names its library or folder." >&2
    exit 3
  }
  python3 -m zipfile -e "$work"/wheels/*.whl "$work/tree"
  mv "$work/tree" "$tree"
fi
if [ ! -d "$tree/include" ]; then
  echo "Fetching the headers of TensorRT-RTX 1.6" >&2
  # into place in one step, so that no compiler sees half of them
  if fetch_headers "$work/include"; then
    mv "$work/include" "$tree/include"
  else
    echo "The headers could not be fetched (message above). The library is there; to compile its module unpack NVIDIA's TensorRT-RTX SDK and name it: TENSORRT_ROOT=FOLDER." >&2
  fi
fi
echo "$libs"
