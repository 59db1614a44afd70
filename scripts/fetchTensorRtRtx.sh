#!/usr/bin/env bash
# TensorRT-RTX without an installation: NVIDIA's own wheel from the Python package index, unpacked into the cache folder.
# It builds engines on machines without a GPU (running them needs one). Prints the folder of the libraries as its last line.
#
#   scripts/fetchTensorRtRtx.sh           fetch when it is not there yet
#   scripts/fetchTensorRtRtx.sh --check   only look: prints the folder, or ends with code 3 when it is not there
#
# The folder is ${SEMANTICVLA_TOOLCHAINS:-${XDG_CACHE_HOME:-~/.cache}/semanticvla}/tensorrt-rtx-<version>/tensorrt_rtx_libs.
# Needs python3 with pip, and the index that pip is configured for. Several may run at once: one fetches, the others wait.
# Exit codes: 0 there, 2 bad option, 3 not there and could not be fetched.
set -euo pipefail

version=1.7.1.116
package="tensorrt-rtx-cu13-libs==$version"

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

if [ -d "$libs" ]; then
  echo "TensorRT-RTX $version is there already." >&2
  echo "$libs"
  exit 0
fi

mkdir -p "$base"
exec 9>"$base/tensorrt-rtx-$version.lock"
flock 9
if [ ! -d "$libs" ]; then
  work=$(mktemp -d "$base/tensorrt-rtx-$version.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  echo "Fetching $package (95 MB)" >&2
  if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
      --dest "$work/wheels" "$package" >&2; then
    {
      echo "Expected pip to download TensorRT-RTX but it failed (its message is above)."
      echo "Possible solutions:"
      echo "- go online, or point pip at a mirror (PIP_INDEX_URL), and run scripts/fetchTensorRtRtx.sh again;"
      echo "- on another machine run: python3 -m pip download --no-deps --only-binary :all: $package"
      echo "  and here: PIP_NO_INDEX=1 PIP_FIND_LINKS=<folder of the wheel> scripts/fetchTensorRtRtx.sh;"
      echo "- install TensorRT or TensorRT-RTX yourself; SEMANTICVLA_TENSORRT names its library or folder."
    } >&2
    exit 3
  fi
  python3 -m zipfile -e "$work"/wheels/*.whl "$work/tree"
  mv "$work/tree" "$tree"
fi
echo "$libs"
