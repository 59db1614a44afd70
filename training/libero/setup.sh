#!/usr/bin/env bash
# Makes the Python environment of LIBERO's scenes (2.2 GB). Nothing of it is needed to install, test or use semanticvla.
#
#   training/libero/setup.sh            -> ${XDG_CACHE_HOME:-~/.cache}/semanticvla/libero-venv
#   PYTHON=python3.10 training/libero/setup.sh
#
# It renders in software: on Debian `apt-get install -y --no-install-recommends libosmesa6 libgl1 libglib2.0-0` first.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/semanticvla/libero-venv
python=${PYTHON:-python3.11}

"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
cd "$here"
"$venv/bin/python" -c 'from scene import Scene; print(Scene("libero_object", 0).language)'
echo "Ready: $venv/bin/python $here/collect.py"
