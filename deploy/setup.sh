#!/usr/bin/env bash
# Makes the Python environment of a fleet: Ray with Serve. Nothing of it is needed to install, test or use semanticvla.
#
#   deploy/setup.sh              -> ${XDG_CACHE_HOME:-~/.cache}/semanticvla/ray-venv (400 MB)
#   PYTHON=python3.11 deploy/setup.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/semanticvla/ray-venv
python=${PYTHON:-python3}

"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
"$venv/bin/python" -c 'import ray; from ray import serve; print(f"ray {ray.__version__}")'
echo "Ready. Put $venv/bin into PATH and $here into PYTHONPATH, then: ray start --head; serve deploy $here/serve.yaml"
