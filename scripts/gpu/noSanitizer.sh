#!/usr/bin/env bash
# In place of compute-sanitizer in a rehearsal: runs the kernels' tests by themselves and watches nothing. The session takes a minute
# on a CPU and runs in a stage of its own. The sanitizer's options come before the program's path.
while [ ! -f "$1" ]; do shift; done
echo "========= ERROR SUMMARY: ${1##*/} was not watched"
case $1 in */kernelTests) exec "$@" ;; esac
