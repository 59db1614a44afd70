#!/usr/bin/env bash
# Programs on this machine's GPU that need no TensorRT (npm run test:gpu): the kernels' tests, the same as those of
# scripts/kernelTests.sh, linked with CUDA itself instead of the stand-in; and the session harness (test/runtime/harness), which
# runs the real session with its graphs, memory and weights around our own kernels.
#
#   scripts/gpuTests.sh [--arch sm_87] [--build DIR]              compile, then run both
#   scripts/gpuTests.sh --compile-only --arch sm_87,sm_120        compile and link, without a GPU
#   scripts/gpuTests.sh --sanitizer                               then under NVIDIA's compute-sanitizer: memcheck (with leaks),
#                                                                 racecheck, synccheck, initcheck
#   scripts/gpuTests.sh --compiled --only NAME                    what was compiled before, one part of it: kernels, session, or
#                                                                 a tool of compute-sanitizer
#   ... -- FILTER...                                              only kernel tests whose name contains a FILTER
#
# nvcc: $NVCC, else in PATH, else /usr/local/cuda/bin, else scripts/fetchNvcc.sh. compute-sanitizer: $COMPUTE_SANITIZER, else in PATH, else
# beside nvcc; it comes with the CUDA toolkit (on JetPack: apt install cuda-sanitizer-12-6). SESSION_HARNESS: its arguments,
# mebibytes of weights and runs (4096 1000).
# Exit codes: 0 passed, 1 failed, 2 bad option, 3 nothing to compile or run with (no nvcc, no GPU, no compute-sanitizer).
set -euo pipefail
cd "$(dirname "$0")/.."

tools=(memcheck racecheck synccheck initcheck)
arch=native build=build-kernels/gpu compile=true run=true parts=(kernels session) filters=()
while [ $# -gt 0 ]; do
  case "$1" in
    --arch) arch=${2:?--arch needs names like sm_87}; shift 2 ;;
    --build) build=${2:?--build needs a folder}; shift 2 ;;
    --compile-only) run=false; shift ;;
    --compiled) compile=false; shift ;;
    --sanitizer) parts+=("${tools[@]}"); shift ;;
    --only) parts=("${2:?--only needs a part}"); shift 2 ;;
    --) shift; filters=("$@"); break ;;
    *) echo "Expected --arch, --build, --compile-only, --compiled, --sanitizer, --only or -- but received $1." >&2; exit 2 ;;
  esac
done
case " kernels session ${tools[*]} " in *" ${parts[0]} "*) ;; *)
  echo "Expected --only kernels, session, ${tools[*]} but received ${parts[0]}." >&2; exit 2 ;;
esac

has_gpu() { ls /dev/nvidia[0-9]* /dev/nvgpu /dev/nvhost-gpu >/dev/null 2>&1; }
if $compile && $run && ! has_gpu; then
  echo 'Expected a GPU but this machine has no NVIDIA device file. Run npm test, which needs none;' >&2
  echo 'scripts/gpuTests.sh --compile-only --arch sm_87 shows that the tests build.' >&2
  exit 3
fi
# a Jetson's is not in its PATH
nvcc=${NVCC:-$(PATH=$PATH:/usr/local/cuda/bin command -v nvcc || true)}

compile_all() {
  if [ -z "$nvcc" ]; then nvcc=$(scripts/fetchNvcc.sh | tail -n 1) || exit 3; fi
  # -arch=native asks the driver. Several names make one program for all of them.
  local targets=() name
  if [ "$arch" = native ]; then
    if ! has_gpu; then echo 'Expected --arch with --compile-only: there is no GPU to ask.' >&2; exit 2; fi
    targets=(-arch=native)
  else
    for name in ${arch//,/ }; do targets+=("-gencode=arch=compute_${name#sm_},code=$name"); done
  fi
  mkdir -p "$build"
  local shared=(native/kernels/*.cu native/kernels/*.cpp native/reference/*.cpp native/support/*.cpp)
  local kernels=(test/kernels/*.cpp)
  local session
  mapfile -t session <test/runtime/harness/sources.txt
  session+=(native/runtime/cudaDevice.cpp native/runtime/cudaDriver.cpp)
  # The host code must not fuse multiplications with additions either: the twins round each result.
  local flags=(-std=c++17 -O2 -Inative -Itest/kernels -DSEMANTICVLA_HAS_KERNELS=1 -Werror all-warnings -Wno-deprecated-gpu-targets
    -Xcompiler "-Wall,-Wextra,-Werror,-ffp-contract=off" "${targets[@]}")
  local source
  for source in "${shared[@]}" "${kernels[@]}" "${session[@]}"; do
    "$nvcc" "${flags[@]}" -c "$source" -o "$(object "$source")" &
    while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-2}" ]; do wait -n; done
  done
  while [ -n "$(jobs -rp)" ]; do wait -n; done
  link() {
    local program=$1 objects=() source
    shift
    for source in "$@"; do objects+=("$(object "$source")"); done
    "$nvcc" "${targets[@]}" "${objects[@]}" -Xcompiler -pthread -ldl -o "$build/$program"
    echo "$build/$program"
  }
  link kernelTests "${shared[@]}" "${kernels[@]}"
  link sessionHarness "${shared[@]}" "${session[@]}"
}
object() { echo "$build/$(echo "$1" | tr '/' '_').o"; }

if $compile; then compile_all; fi
if ! $run; then exit 0; fi

sanitizer=''
find_sanitizer() {
  sanitizer=${COMPUTE_SANITIZER:-$(command -v compute-sanitizer || true)}
  if [ -z "$sanitizer" ] && [ -n "$nvcc" ]; then sanitizer=$(dirname "$nvcc")/compute-sanitizer; fi
  [ -x "$sanitizer" ] && return
  echo 'Expected compute-sanitizer in PATH, in COMPUTE_SANITIZER or beside nvcc but found none.' >&2
  echo 'It comes with the CUDA toolkit; on JetPack: apt install cuda-sanitizer-12-6.' >&2
  exit 3
}
for part in "${parts[@]}"; do
  case $part in
    kernels) "$build/kernelTests" "${filters[@]}" ;;
    # shellcheck disable=SC2086
    session) "$build/sessionHarness" ${SESSION_HARNESS:-4096 1000} ;;
    *)
      find_sanitizer
      check=("$sanitizer" --error-exitcode 1 --tool "$part")
      if [ "$part" = memcheck ]; then check+=(--leak-check full); fi
      if [ "$part" = racecheck ]; then check+=(--racecheck-report all); fi
      # It makes kernels 10 to 100 times slower: all refusals and shapes except the 300 random ones.
      some=("${filters[@]}")
      if [ ${#some[@]} -eq 0 ]; then some=(SpecSizes Limits Masks Ties NotANumber Cameras Edges queryRows channelConcat film); fi
      echo "== compute-sanitizer --tool $part"
      "${check[@]}" "$build/kernelTests" "${some[@]}"
      "${check[@]}" "$build/sessionHarness" 8 3 ;;
  esac
done
