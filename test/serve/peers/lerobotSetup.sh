#!/usr/bin/env bash
# Makes the Python environment of LeRobot's robot client (4.9 GB, most of it CUDA for torch). Only test/serve/lerobot.test.ts uses it.
#
#   test/serve/peers/lerobotSetup.sh    -> ${XDG_CACHE_HOME:-~/.cache}/semanticvla/lerobot-venv
#   PYTHON=python3.13 test/serve/peers/lerobotSetup.sh
set -euo pipefail

venv=${XDG_CACHE_HOME:-$HOME/.cache}/semanticvla/lerobot-venv
python=${PYTHON:-python3.12}

"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'lerobot[async]==0.6.1'
"$venv/bin/python" -c 'import lerobot.async_inference.robot_client'
echo "Ready: $venv/bin/python"
