#!/usr/bin/env bash
# For the owner of a Jetson Orin or Thor: checks the board, builds, runs the golden policies, measures, and writes one page that can
# be pasted into an issue. It names no host, user or folder.
#
#   scripts/jetson.sh            everything; run again, it goes on where it ended
#   scripts/jetson.sh --check    only whether this board can be measured as it is
#   scripts/jetson.sh OPTION...  as npm run gpu: --budget S, --runs N, --work DIR, --again STAGES, ...
#
# JetPack 6.1 or 6.2 (Orin), 7.0 or newer (Thor; Orin from 7.2). For figures that can be compared, before it:
#   sudo nvpmodel -m 0 && sudo jetson_clocks
# Exit codes: those of npm run gpu; 3: this machine lacks something, and the last line says what to do.
set -euo pipefail
cd "$(dirname "$0")/.."

refuse() { echo "semanticvla jetson: $1" >&2; exit 3; }

root=${SEMANTICVLA_BOARD_ROOT-}   # a board's files elsewhere, for tests
[ -e "$root/etc/nv_tegra_release" ] || refuse 'expected a Jetson (/etc/nv_tegra_release), found none; with an NVIDIA card run: npm run gpu'
command -v node >/dev/null || refuse "expected Node, found none; install the linux-arm64 archive of nodejs.org, or: curl -fsSL https://deb.nodesource.com/setup_22.x | sudo bash - && sudo apt-get install -y nodejs"
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit((a === 20 && b >= 15) || (a === 22 && b >= 2) || a > 22 ? 0 : 1)' ||
  refuse "expected Node 20.15 or newer (of 22: 22.2), found $(node --version); Ubuntu's own package is older: install the linux-arm64 archive of nodejs.org"
[ -d node_modules ] || npm ci

out=(--out jetson-figures)
only=()
if [ "${1-}" = --check ]; then
  shift
  only=(--stages board --again board)
fi
exec node --import tsx scripts/gpu.ts --board "${out[@]}" "${only[@]}" "$@"
