"""Records the demonstrator in one scene: recordEpisode.py OUT --task pick --seed SEED --family next [--every 8]

Writes an episode (docs/evaluate.md): actions.npy [T, 7], states.npy [T, 8], and an observation at every eighth step,
each before that step's action. The actions are the demonstrator's own, without noise; templates and, from the task's
first test seed on, scenes are those that were kept from training. Run it with the Python of the task's environment.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from recordFiles import QUALITY, observe, write_frames, write_json
from tasks import read_task

AFTER = 5  # steps that are recorded after the task is done


def record(out: Path, given: argparse.Namespace) -> str:
    task = read_task(given.task)
    arena = task.module("simulator").Arena(task)
    trial = arena.begin(given.seed, given.family, "test")
    if trial is None:
        raise SystemExit(f"seed {given.seed}: no sentence of {given.family} fits its scene; take another seed")
    act = arena.demonstrator()
    out.mkdir(parents=True)
    actions, states, observations = [], [], []
    left = AFTER
    while left > 0:
        step = len(actions)
        if step == arena.most_steps:
            raise SystemExit(f"seed {given.seed}: the demonstrator was not done with the {trial.named} in {step} steps")
        if step % given.every == 0:
            folder = out / f"{step:03d}"
            folder.mkdir()
            images = write_frames(folder, "", arena.frames(), given.side, given.quality)
            content = {"instruction": trial.sentence, **observe(arena), "images": images}
            write_json(folder / "observation.json", content)
            observations.append({"step": step, "folder": folder.name})
        action = act()
        states.append(arena.state())
        actions.append(action)
        arena.step(action)
        left -= arena.done() == trial.named
    np.save(out / "actions.npy", np.array(actions, dtype=np.float64))
    np.save(out / "states.npy", np.array(states, dtype=np.float32))
    by = f"training/recordEpisode.py: a scripted demonstrator in {arena.simulator}"
    head = {
        "instruction": trial.sentence,
        "rate": arena.rate,
        "actions": "actions.npy",
        "states": "states.npy",
        "observations": observations,
        "recorded": {"by": by, "seed": given.seed, "family": given.family, **trial.notes, "named": trial.named},
    }
    write_json(out / "episode.json", head)
    return f'{out}: "{trial.sentence}" ({trial.named}), {len(actions)} steps'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--family", required=True)
    parser.add_argument("--every", type=int, default=8)
    parser.add_argument("--side", type=int, help="pixels of a side of the frames, if not as they are rendered")
    parser.add_argument("--quality", type=int, default=QUALITY, help="of the JPEG files")
    given = parser.parse_args()
    print(record(given.out, given))
    return 0


if __name__ == "__main__":
    sys.exit(main())
