#!/usr/bin/env bash
# Makes the Python environment of the simulator. Nothing of it is needed to install, test or use semanticvla.
#
#   training/setup.sh            -> ${XDG_CACHE_HOME:-~/.cache}/semanticvla/simulator-venv
#   PYTHON=python3.11 training/setup.sh
#
# It renders in software: on Debian `apt-get install -y --no-install-recommends libosmesa6 libgl1 libglib2.0-0` first.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/semanticvla/simulator-venv
python=${PYTHON:-python3}

"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps robosuite==1.5.2
"$venv/bin/python" -c 'import mujoco, robosuite; print(f"robosuite {robosuite.__version__}, mujoco {mujoco.__version__}")'
echo "Ready: $venv/bin/python $here/recordEpisode.py"
