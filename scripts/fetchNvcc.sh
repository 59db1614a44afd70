#!/usr/bin/env bash
# CUDA's compiler and compute-sanitizer without a CUDA installation: NVIDIA's own wheels from the Python package index, unpacked side by side
# into one tree in the cache folder. Prints the path of nvcc as its last line.
#
#   scripts/fetchNvcc.sh           fetch when it is not there yet
#   scripts/fetchNvcc.sh --check   only look: prints the path, or ends with code 3 when it is not there
#
# The tree is ${SEMANTICVLA_TOOLCHAINS:-${XDG_CACHE_HOME:-~/.cache}/semanticvla}/nvcc-<version>/nvidia/cu13.
# Needs python3 with pip, and the index that pip is configured for. Several may run at once: one fetches, the others wait.
# Exit codes: 0 there, 2 bad option, 3 not there and could not be fetched.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
packages=(nvidia-cuda-nvcc nvidia-cuda-crt nvidia-nvvm nvidia-cuda-runtime nvidia-cuda-cccl nvidia-cuda-sanitizer-api nvidia-nvtx)
# nvcc 13.0 compiles for sm_75 to sm_121 with gcc 6 to 15.
version=$(sed -n 's/^nvidia-cuda-nvcc==\([^ ]*\) .*/\1/p' "$here/nvidiaWheels.txt")

base=${SEMANTICVLA_TOOLCHAINS:-${XDG_CACHE_HOME:-$HOME/.cache}/semanticvla}
tree=$base/nvcc-$version
nvcc=$tree/nvidia/cu13/bin/nvcc

case "${1-}" in
  '') ;;
  --check)
    # The folder is renamed into place when complete, so its presence is enough.
    if [ -x "$nvcc" ]; then echo "$nvcc"; exit 0; fi
    echo "Expected nvcc $version at $nvcc but nothing is there. Run scripts/fetchNvcc.sh." >&2
    exit 3 ;;
  *)
    echo "Expected no option or --check but received $1." >&2
    exit 2 ;;
esac

if [ -x "$nvcc" ] && [ -e "$tree/nvidia/cu13/include/nvtx3/nvToolsExt.h" ]; then
  echo "nvcc $version is there already." >&2
  echo "$nvcc"
  exit 0
fi

mkdir -p "$base"
exec 9>"$base/nvcc-$version.lock"
flock 9
if [ -x "$nvcc" ] && [ ! -e "$tree/nvidia/cu13/include/nvtx3/nvToolsExt.h" ]; then
  work=$(mktemp -d "$base/nvcc-$version.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  # headers of NVTX (named ranges in profilers): added to older trees that lack them
  if "$here/downloadWheels.sh" "$work/wheels" nvidia-nvtx; then
    python3 -m zipfile -e "$work"/wheels/*.whl "$work/tree"
    # in one step, so that no compiler sees half of it
    mv "$work/tree/nvidia/cu13/include/nvtx3" "$tree/nvidia/cu13/include/nvtx3"
  else
    # nvcc works without them; the modules are then built without ranges
    echo "NVTX headers could not be fetched: profilers will show no named ranges." >&2
  fi
  rm -rf "$work"
fi
if [ ! -x "$nvcc" ]; then
  work=$(mktemp -d "$base/nvcc-$version.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  "$here/downloadWheels.sh" "$work/wheels" "${packages[@]}" || {
    echo "- or install the CUDA toolkit (12.6 or later); set NVCC to its nvcc where the project asks for one." >&2
    exit 3
  }
  mkdir "$work/tree"
  for wheel in "$work"/wheels/*.whl; do
    echo "Unpacking $(basename "$wheel")" >&2
    python3 -m zipfile -e "$wheel" "$work/tree"
  done
  root=$work/tree/nvidia/cu13
  # Unpacking a wheel this way does not restore its permissions.
  chmod -R u+x "$root/bin" "$root/nvvm/bin"
  # nvcc looks for the runtime library in lib64.
  [ -e "$root/lib64" ] || ln -s lib "$root/lib64"
  "$root/bin/nvcc" --version >/dev/null
  rm -rf "$tree"
  mv "$work/tree" "$tree"
  rm -rf "$work"
fi
"$nvcc" --version | tail -n 2 >&2
echo "$nvcc"
