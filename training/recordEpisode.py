"""Records the demonstrator in one scene: recordEpisode.py OUT --seed SEED --family colour|side|next [--every 8]

Writes an episode (docs/evaluate.md): actions.npy [T, 7], states.npy [T, 8], and an observation at every eighth step,
each before that step's action. The actions are the demonstrator's own, without noise. Scenes of seed 1000000 and more
were kept from training.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from recordFiles import observe, write_frames, write_json
from scene import RATE, Demonstrator, Scene
from sentences import FAMILIES

MOST_STEPS = 100
AFTER = 5  # steps that are recorded after the cube is up


def record(out: Path, seed: int, family: str, every: int) -> str:
    scene = Scene()
    scene.reset(seed)
    task = scene.task(seed, family)
    if task is None:
        raise SystemExit(f"seed {seed}: no sentence of the family {family} fits its cubes; take another seed")
    named, sentence = task
    demonstrator = Demonstrator(scene, named)
    out.mkdir(parents=True)
    actions, states, observations = [], [], []
    left = AFTER
    while left > 0:
        step = len(actions)
        if step == MOST_STEPS:
            raise SystemExit(f"seed {seed}: the demonstrator did not lift the {named} cube in {MOST_STEPS} steps")
        if step % every == 0:
            folder = out / f"{step:03d}"
            folder.mkdir()
            images = write_frames(folder, "", scene.frames())
            content = {"instruction": sentence, **observe(scene, named), "images": images}
            write_json(folder / "observation.json", content)
            observations.append({"step": step, "folder": folder.name})
        action = demonstrator.act()
        states.append(scene.state())
        actions.append(action)
        scene.step(action)
        left -= scene.lifted() == named
    np.save(out / "actions.npy", np.array(actions, dtype=np.float64))
    np.save(out / "states.npy", np.array(states, dtype=np.float32))
    head = {
        "instruction": sentence,
        "rate": RATE,
        "actions": "actions.npy",
        "states": "states.npy",
        "observations": observations,
        "recorded": {
            "by": "training/recordEpisode.py: a scripted demonstrator in robosuite 1.5.2, MuJoCo 3.3.2",
            "seed": seed,
            "family": family,
            "cubes": scene.layout.names,
            "named": named,
        },
    }
    write_json(out / "episode.json", head)
    return f'{out}: "{sentence}" ({named} of {", ".join(scene.layout.names)}), {len(actions)} steps'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--family", choices=FAMILIES, required=True)
    parser.add_argument("--every", type=int, default=8)
    given = parser.parse_args()
    print(record(given.out, given.seed, given.family, given.every))
    return 0


if __name__ == "__main__":
    sys.exit(main())
