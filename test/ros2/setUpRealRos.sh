#!/usr/bin/env bash
# A real ROS 2 (Kilted) without root and without a ROS package server: its libraries and rclpy as wheels from PyPI, rclnodejs
# from npm, built against them. Needs Python 3.11 with its shared library, g++, Node >= 20.20.2; 300 MB, a few minutes.
# Prints the folder. Once made it is used again; two at a time wait for each other.
# `ros2 launch` is in no registry: its Python package is installed from source, by default from GitHub; ROS_LAUNCH names
# another source that pip takes, such as the folder `launch` of a checkout of ros2/launch. Without it the rest still works.
set -euo pipefail

folder="${XDG_CACHE_HOME:-$HOME/.cache}/semanticvla/ros2-kilted"
python="${PYTHON:-python3.11}"
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9

# What a launch file needs: pure Python.
installLaunch() {
  local source="${ROS_LAUNCH:-git+https://github.com/ros2/launch@kilted#subdirectory=launch}" pip="$folder/ros/bin/pip"
  if [ -f "$folder/launch-ready" ]; then return; fi
  if "$pip" install --quiet wheel setuptools pyyaml lark importlib_metadata osrf-pycommon &&
    "$pip" install --quiet --no-build-isolation --no-deps "$source"; then
    touch "$folder/launch-ready"
  else
    echo "setUpRealRos: expected ros2/launch at $source, found none; set ROS_LAUNCH. The launch file is not tested." >&2
  fi
}

if [ -f "$folder/ready" ]; then
  installLaunch >&2
  echo "$folder"
  exit 0
fi

{
  "$python" -m venv "$folder/ros"
  "$folder/ros/bin/pip" install --quiet 'ros-rclpy==9.1.2' ros-rcl-action ros-rcl-lifecycle ros-rmw-fastrtps-cpp \
    ros-rmw-implementation ros-sensor-msgs ros-trajectory-msgs ros-std-msgs ros-rcl-logging-spdlog
  # rclnodejs finds ROS by the place of this command, and needs nothing else of it
  printf '#!/bin/sh\nexit 0\n' >"$folder/ros/bin/ros2"
  chmod +x "$folder/ros/bin/ros2"
  # the message libraries carry Python's typesupport and leave its symbols to the process
  libpython=$("$python" -c 'import sysconfig, os; print(os.path.join(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")))')
  if [ ! -f "$libpython" ]; then
    libpython=$(ldconfig -p | sed -n 's/.*libpython3\.11\.so\.1\.0.* => //p' | head -n 1)
  fi
  if [ ! -f "$libpython" ]; then
    echo 'setUpRealRos: expected libpython3.11.so.1.0, found none; apt-get install -y libpython3.11' >&2
    exit 1
  fi
  libraries="$folder/ros/lib"
  for bundled in "$folder"/ros/lib/python3.11/site-packages/*.libs; do libraries="$libraries:$bundled"; done
  cat >"$folder/environment.json" <<JSON
{
  "ROS_DISTRO": "kilted",
  "ROS_VERSION": "2",
  "AMENT_PREFIX_PATH": "$folder/ros",
  "LD_LIBRARY_PATH": "$libraries",
  "LD_PRELOAD": "$libpython",
  "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"
}
JSON
  mkdir -p "$folder/node"
  cd "$folder/node"
  echo '{ "private": true }' >package.json
  npm install --ignore-scripts --no-audit --no-fund --silent rclnodejs@2.2.0
  cd node_modules/rclnodejs
  export ROS_DISTRO=kilted AMENT_PREFIX_PATH="$folder/ros" LD_LIBRARY_PATH="$libraries" PATH="$folder/ros/bin:$PATH"
  npx node-gyp -j 2 rebuild
  LD_PRELOAD="$libpython" node scripts/generate_messages.cjs
  touch "$folder/ready"
  installLaunch
} >&2
echo "$folder"
