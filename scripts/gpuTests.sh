#!/usr/bin/env bash
# The kernels' tests on this machine's GPU (npm run test:gpu): the same tests as scripts/kernelTests.sh, linked with CUDA
# itself instead of the stand-in.
#
#   scripts/gpuTests.sh [--arch sm_87] [--build DIR]              compile, then run the tests
#   scripts/gpuTests.sh --compile-only --arch sm_87,sm_120        compile and link, without a GPU
#   scripts/gpuTests.sh --sanitizer                               after the tests, under NVIDIA's compute-sanitizer: memcheck
#                                                                 (with leaks), racecheck, initcheck, synccheck
#   ... -- FILTER...                                              only tests whose name contains a FILTER
#
# nvcc: $NVCC, else the one in PATH, else scripts/fetchNvcc.sh. compute-sanitizer: $COMPUTE_SANITIZER, else in PATH, else
# beside nvcc; it comes with the CUDA toolkit (on JetPack: apt install cuda-sanitizer-12-6). By hand:
#   compute-sanitizer --tool memcheck --leak-check full build-kernels/gpu/kernelTests
#   compute-sanitizer --tool racecheck --racecheck-report all build-kernels/gpu/kernelTests
#   compute-sanitizer --tool initcheck build-kernels/gpu/kernelTests
#   compute-sanitizer --tool synccheck build-kernels/gpu/kernelTests
# Exit codes: 0 passed, 1 failed, 2 bad option, 3 nothing to compile or run with (no nvcc, no GPU, no compute-sanitizer).
set -euo pipefail
cd "$(dirname "$0")/.."

arch=native build=build-kernels/gpu compileOnly=false sanitizer=false filters=()
while [ $# -gt 0 ]; do
  case "$1" in
    --arch) arch=${2:?--arch needs names like sm_87}; shift 2 ;;
    --build) build=${2:?--build needs a folder}; shift 2 ;;
    --compile-only) compileOnly=true; shift ;;
    --sanitizer) sanitizer=true; shift ;;
    --) shift; filters=("$@"); break ;;
    *) echo "Expected --arch, --build, --compile-only, --sanitizer or -- but received $1." >&2; exit 2 ;;
  esac
done

if ! $compileOnly && ! ls /dev/nvidia[0-9]* /dev/nvgpu /dev/nvhost-gpu >/dev/null 2>&1; then
  echo 'Expected a GPU but this machine has no NVIDIA device file. Run npm test, which needs none;' >&2
  echo 'scripts/gpuTests.sh --compile-only --arch sm_87 shows that the tests build.' >&2
  exit 3
fi
nvcc=${NVCC:-$(command -v nvcc || true)}
if [ -z "$nvcc" ]; then nvcc=$(scripts/fetchNvcc.sh | tail -n 1) || exit 3; fi

# -arch=native asks the driver. Several names make one program for all of them.
targets=()
if [ "$arch" = native ]; then
  if $compileOnly; then echo 'Expected --arch with --compile-only: there is no GPU to ask.' >&2; exit 2; fi
  targets=(-arch=native)
else
  for name in ${arch//,/ }; do targets+=("-gencode=arch=compute_${name#sm_},code=$name"); done
fi

mkdir -p "$build"
sources=(native/kernels/*.cu native/kernels/*.cpp native/reference/*.cpp native/support/*.cpp test/kernels/*.cpp)
# The host code must not fuse multiplications with additions either: the twins round each result.
flags=(-std=c++17 -O2 -Inative -Itest/kernels -Werror all-warnings -Wno-deprecated-gpu-targets
  -Xcompiler -Wall,-Wextra,-Werror,-ffp-contract=off "${targets[@]}")
objects=()
for source in "${sources[@]}"; do
  object=$build/$(echo "$source" | tr '/' '_').o
  "$nvcc" "${flags[@]}" -c "$source" -o "$object" &
  objects+=("$object")
  while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-2}" ]; do wait -n; done
done
while [ -n "$(jobs -rp)" ]; do wait -n; done
"$nvcc" "${targets[@]}" "${objects[@]}" -Xcompiler -pthread -o "$build/kernelTests"
echo "$build/kernelTests"
if $compileOnly; then exit 0; fi

"$build/kernelTests" "${filters[@]}"
if ! $sanitizer; then exit 0; fi
check=${COMPUTE_SANITIZER:-$(command -v compute-sanitizer || true)}
if [ -z "$check" ]; then check=$(dirname "$nvcc")/compute-sanitizer; fi
if [ ! -x "$check" ]; then
  echo "Expected compute-sanitizer in PATH, in COMPUTE_SANITIZER or beside $nvcc but found none." >&2
  echo 'It comes with the CUDA toolkit; on JetPack: apt install cuda-sanitizer-12-6.' >&2
  exit 3
fi
# The sanitizer makes kernels 10 to 100 times slower: all refusals and shapes except the 300 random ones.
if [ ${#filters[@]} -eq 0 ]; then filters=(SpecSizes Limits Masks Ties NotANumber Cameras Edges queryRows channelConcat film); fi
for tool in 'memcheck --leak-check full' 'racecheck --racecheck-report all' initcheck synccheck; do
  echo "== compute-sanitizer --tool $tool"
  # shellcheck disable=SC2086
  "$check" --error-exitcode 1 --tool $tool "$build/kernelTests" "${filters[@]}"
done
