#!/usr/bin/env bash
# The whole recipe of a task: collects, trains, exports, evaluates. Each part goes on where it was stopped, so the same
# command is the way to continue, on this machine or another day.
#
#   training/recipe.sh pick                                       one seed, from nothing
#   SEEDS="0 1 2" EPISODES=1700 STEPS=6500 training/recipe.sh pick
#   RUN=monday INIT=FOLDER FIRST=1700 training/recipe.sh pick     fresh episodes, from the weights of a run or a checkpoint
#
# Also: FLOAT32=1, products in float32; PROCESSES that share a step (2); RATE, the learning rate instead of the task's;
# MORE_DATA, folders of other episodes; TRIALS, scenes a family (100).
# Everything lies in ${XDG_CACHE_HOME:-~/.cache}/semanticvla/training/TASK: train-FIRST, validation, runs, checkpoints,
# results. Needs bench/reference/setup.sh and the environment that the task's file names.
set -euo pipefail

task=${1:?training/recipe.sh TASK}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/semanticvla
folder=$cache/training/$task
torch=$cache/bench-venv/bin/python
file=$here/tasks/$task.json
simulator=$cache/$("$torch" -c 'import json, sys; print(json.load(open(sys.argv[1]))["venv"])' "$file")/bin/python
families=$("$torch" -c 'import json, sys; print(*json.load(open(sys.argv[1]))["families"])' "$file")
first=${FIRST:-0} run=${RUN:-run}
read -ra more <<<"${MORE_DATA:-}"
data=("$folder/train-$first" ${more[@]+"${more[@]}"})

"$simulator" "$here/collect.py" "${data[0]}" --task "$task" --count "${EPISODES:-1700}" --first "$first"
"$simulator" "$here/collect.py" "$folder/validation" --task "$task" --count 30 --split validation
for seed in ${SEEDS:-0}; do
  name=$run-$seed
  if [ -e "$folder/runs/$name/run.json" ]; then
    "$torch" "$here/train.py" "$folder/runs/$name"
  else
    "$torch" "$here/train.py" "$folder/runs/$name" --task "$task" --data "${data[@]}" --validation "$folder/validation" \
      --steps "${STEPS:-6500}" --seed "$seed" ${INIT:+--init "$INIT"} ${RATE:+--learning-rate "$RATE"} ${FLOAT32:+--float32} ${PROCESSES:+--processes "$PROCESSES"}
  fi
  checkpoint=$folder/checkpoints/$name
  [ -e "$checkpoint" ] || "$torch" "$here/export.py" "$folder/runs/$name" "$checkpoint" ${INIT:+--adapter-from "$INIT"}
  judge() { "$simulator" "$here/evaluate.py" "$folder/results/$name-$1.jsonl" --task "$task" --program "$checkpoint" "${@:2}"; }
  for family in $families; do
    judge "$family" --family "$family" --count "${TRIALS:-100}"
  done
  for control in blind grey wrong; do
    judge "$control" --family "${families%% *}" --count 40 --control "$control"
  done
done
