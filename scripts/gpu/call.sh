#!/usr/bin/env bash
# On a lent machine, from the unpacked base (pack.ts):
#
#   call.sh unpack PART.tar   TensorRT's slices of one part to their places
#   call.sh results           figures, report and logs to RESULTS, the folder whose files are brought back
#   call.sh bare              where Node does not start: the programs that need none, their output into RESULTS
#   call.sh OPTION...         scripts/gpu.ts with these, and with what was brought along
set -euo pipefail
home=$(realpath "$(dirname "$0")/../..")
slice_bytes=$((48 << 20))

# xz where it is, else Python's
decompress() {
  if command -v xz >/dev/null; then xz -dc "$1"
  else python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer, 1 << 20)' "$1"; fi
}

case "${1-}" in
  unpack)
    part=$(realpath "$2")
    mkdir -p "$home/tensorrt"
    slices=$(mktemp -d "$home/slices.XXXXXX")
    tar -xf "$part" -C "$slices"
    pids=()
    for slice in "$slices"/*.xz; do
      name=$(basename "$slice" .xz)
      decompress "$slice" | dd of="$home/tensorrt/${name%.*}" bs=1M iflag=fullblock conv=notrunc status=none \
        seek=$((10#${name##*.} * (slice_bytes >> 20))) &
      pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
    rm -rf "$slices"
    du -sh "$home/tensorrt" ;;
  results)
    cp "$home/figures/figures.json" "$home/figures/report.md" "$RESULTS"
    tar -czf "$RESULTS/logs.tar.gz" -C "$home/figures" --exclude=work --exclude=lock . ;;
  bare)
    cd "$home"
    for part in kernels session memcheck racecheck synccheck initcheck; do
      timeout --kill-after=5 90 scripts/gpuTests.sh --compiled --only $part >"$RESULTS/$part.log" 2>&1 && how=passed || how="code $?"
      echo "$part: $how"
    done
    tail -n 4 "$RESULTS"/*.log ;;
  *)
    export PATH="$home/bin:$PATH" SEMANTICVLA_CACHE="$home/cache"
    # the builder opens its resource by name
    export SEMANTICVLA_TENSORRT="$home/tensorrt" LD_LIBRARY_PATH="$home/tensorrt:${LD_LIBRARY_PATH-}"
    cd "$home"
    exec node --import tsx scripts/gpu.ts --prepared --out "$home/figures" "$@" ;;
esac
