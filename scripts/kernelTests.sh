#!/usr/bin/env bash
# The kernels' tests on the CPU: compiles native/kernels/*.cu with g++ alone, through the stand-in for CUDA in
# test/kernels/shim, together with their twins of native/reference, and runs them.
#
#   scripts/kernelTests.sh --build DIR [--sanitize] [--ucontext]   compile into DIR (only what changed); prints the program
#   scripts/kernelTests.sh --build DIR ... -- [FILTER...]          and run it, or the tests whose name contains a FILTER
#   scripts/kernelTests.sh --session --build DIR                   the session harness (test/runtime/harness) in their place
#   scripts/kernelTests.sh --both --build DIR                      both programs
#
# --sanitize: AddressSanitizer and UndefinedBehaviorSanitizer. --ucontext: fibers by ucontext, as on other processors
# than x86-64 and aarch64. CXX chooses the compiler, JOBS how many run at once (2).
set -euo pipefail
self=$(realpath "$0")
cd "$(dirname "$self")/.."

build='' run=false program=kernelTests
flags=(-std=c++17 -O1 -g1 -Wall -Wextra -Werror -Wno-unknown-pragmas -ffp-contract=off -DKERNEL_SHIM
  -Inative -Itest/kernels -Itest/kernels/shim)
link=(-pthread)
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=${2:?--build needs a folder}; shift 2 ;;
    --sanitize)
      link+=(-fsanitize=address,undefined)
      flags+=(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
      shift ;;
    --both)
      "$self" --build "$3"
      "$self" --session --build "$3/session"
      exec cp "$3/session/sessionHarness" "$3" ;;
    --session)
      program=sessionHarness
      flags+=(-DSESSION_ON_HOST -DSEMANTICVLA_HAS_KERNELS=1)
      shift ;;
    --ucontext) flags+=(-DSHIM_UCONTEXT); shift ;;
    --) shift; run=true; break ;;
    *) echo "Expected --build DIR, --session, --both, --sanitize, --ucontext or -- but received $1." >&2; exit 2 ;;
  esac
done
if [ -z "$build" ]; then echo 'Expected --build DIR: where objects and the program go.' >&2; exit 2; fi
cxx=${CXX:-g++}

mkdir -p "$build"
# Objects are valid for these flags and this compiler only.
stamp="$("$cxx" --version | head -n 1) ${flags[*]}"
if [ "$(cat "$build/stamp" 2>/dev/null)" != "$stamp" ]; then rm -f "$build"/*.o "$build"/*.d; fi
echo "$stamp" >"$build/stamp"

# Reference sources that no kernel test needs (the addon's loops over frames need threads) are in the list too: the
# program is the whole room.
sources=(native/kernels/*.cu native/kernels/*.cpp native/reference/*.cpp native/support/*.cpp)
if [ $program = kernelTests ]; then
  sources+=(test/kernels/shim/*.cpp test/kernels/*.cpp)
else
  mapfile -t -O ${#sources[@]} sources <test/runtime/harness/sources.txt
  sources+=(test/kernels/shim/{block,fiber,runtime}.cpp)
fi
objects=() stale=()
for source in "${sources[@]}"; do
  [ -e "$source" ] || continue
  object=$build/$(echo "$source" | tr '/' '_').o
  objects+=("$object")
  # An object is current when no file that went into it is newer.
  if [ -e "$object" ] && [ -e "${object%.o}.d" ]; then
    newer=false
    while read -r file; do
      if [ ! -e "$file" ] || [ "$file" -nt "$object" ]; then newer=true; break; fi
    done < <(sed -e 's/^[^:]*://' -e 's/\\$//' "${object%.o}.d" | tr ' ' '\n' | sed '/^$/d')
    if ! $newer; then continue; fi
  fi
  stale+=("$source" "$object")
done
compile() {
  "$cxx" "${flags[@]}" -x c++ -c "$1" -MMD -MF "${2%.o}.d" -o "$2"
}
# At most JOBS compilers at once; the first failure ends the build.
jobs=${JOBS:-2}
for ((i = 0; i < ${#stale[@]}; i += 2)); do
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
  compile "${stale[i]}" "${stale[i + 1]}" &
done
while [ -n "$(jobs -rp)" ]; do wait -n; done
wait
"$cxx" "${link[@]}" "${objects[@]}" -o "$build/$program"
echo "$build/$program"
if $run; then exec "$build/$program" "$@"; fi
