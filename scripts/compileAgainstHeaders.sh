#!/usr/bin/env bash
# Compiles native/runtime and native/plugins against every set of TensorRT headers, warnings as errors, without linking:
# interfaces differ between major versions, and a newer minor version may deprecate what an older one demands.
#
#   scripts/compileAgainstHeaders.sh [FOLDER...]   default: ../shared/third_party/tensorrt-headers/*
#
# CUDA's headers: CUDA_HOME, /usr/local/cuda, or the tree of scripts/fetchNvcc.sh.
# Exit codes: 0 all compile, 1 one does not, 3 headers missing.
set -euo pipefail
cd "$(dirname "$0")/.."

sets=("$@")
if [ ${#sets[@]} -eq 0 ]; then
  for folder in ../shared/third_party/tensorrt-headers/*/; do [ -d "$folder" ] && sets+=("${folder%/}"); done
fi
base=${SEMANTICVLA_TOOLCHAINS:-${XDG_CACHE_HOME:-$HOME/.cache}/semanticvla}
cuda=
for root in "${CUDA_HOME-}" /usr/local/cuda "$base"/nvcc-*/nvidia/cu*; do
  if [ -n "$root" ] && [ -f "$root/include/cuda_runtime_api.h" ]; then cuda=$root/include; break; fi
done
if [ ${#sets[@]} -eq 0 ] || [ -z "$cuda" ]; then
  echo "Expected TensorRT's and CUDA's headers, found ${#sets[@]} set(s) of the former and ${cuda:-none} of the latter." \
    "Name folders with TensorRT's; scripts/fetchNvcc.sh fetches CUDA's." >&2
  exit 3
fi

sources=(native/runtime/*.cpp native/plugins/*.cpp)
if ! compgen -G 'native/kernels/*.h' >/dev/null; then
  kept=()
  for source in "${sources[@]}"; do
    case $source in
      native/plugins/kernelCalls.cpp | native/runtime/kernelPipeline.cpp) ;;
      *) kept+=("$source") ;;
    esac
  done
  sources=("${kept[@]}")
fi
failed=0
for headers in "${sets[@]}"; do
  version=$(grep -hE '^#define (NV_TENSORRT|TRT)_(MAJOR|MINOR|PATCH)(_ENTERPRISE|_RTX)? [0-9]+' "$headers/NvInferVersion.h" | awk '{printf "%s%s", sep, $3; sep="."}')
  if printf '%s\0' "${sources[@]}" | xargs -0 -n 1 -P 2 "${CXX:-g++}" -std=c++17 -Wall -Wextra -Werror -fsyntax-only \
      -Inative -isystem "$headers" -isystem "$cuda"; then
    echo "$(basename "$headers") ($version): ${#sources[@]} files compile"
  else
    echo "$(basename "$headers") ($version): FAILED"
    failed=1
  fi
done
exit $failed
