#!/usr/bin/env bash
# Makes the Python environment of the CPU benchmark's baseline: the PyTorch twin in this folder and the TensorFlow
# image operations it runs. Nothing of it is needed to install, test or use semanticvla.
#
#   bench/reference/setup.sh            -> ${XDG_CACHE_HOME:-~/.cache}/semanticvla/bench-venv
#   PYTHON=python3.11 bench/reference/setup.sh
#
# Safe to run again: it does nothing when the environment was made from the same requirements.txt.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/semanticvla/bench-venv
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 11))'; then
  echo "$python is $("$python" --version 2>&1); the reference's torch 2.2 and TensorFlow 2.15 need Python 3.9 to 3.11." \
    "Set PYTHON to one of these." >&2
  exit 1
fi
if cmp -s "$here/requirements.txt" "$venv/made-from.txt"; then
  echo "$venv is up to date"
  exit 0
fi
echo "Making $venv: downloads about 3 GB, takes about 7 GB on disk."
"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
"$venv/bin/python" - <<'CHECK'
import tensorflow
import torch

print(f"torch {torch.__version__}, tensorflow {tensorflow.__version__}, {torch.get_num_threads()} threads")
CHECK
cp "$here/requirements.txt" "$venv/made-from.txt"
echo "Ready: $venv/bin/python $here/runPolicy.py"
