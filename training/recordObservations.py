"""Records single moments of many unseen scenes: recordObservations.py OUT [--count 50] [--first 1000000]

Writes OUT/observations.json and the frames beside it, 224 pixels a side. Families of sentences and moments of the
episode take turns, a scene each. bench/reference/predictObservations.py adds what the PyTorch twin makes of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from recordFiles import observe, write_frames, write_json
from scene import Demonstrator, Scene

FAMILIES = ("colour", "side", "next")  # those that the shipped policy was trained on
MOMENTS = (0, 6, 12, 18, 24)


def record(out: Path, count: int, first: int) -> None:
    scene = Scene()
    out.mkdir(parents=True)
    observations: list[dict] = []
    seed = first
    while len(observations) < count:
        at = len(observations)
        family, moment = FAMILIES[at % len(FAMILIES)], MOMENTS[at % len(MOMENTS)]
        scene.reset(seed)
        task = scene.task(seed, family)
        if task is not None:
            named, sentence = task
            demonstrator = Demonstrator(scene, named)
            for _ in range(moment):
                scene.step(demonstrator.act())
            images = write_frames(out, f"{at:02d}-", scene.frames(), side=224)
            told = {"seed": seed, "step": moment, "family": family, "named": named, "instruction": sentence}
            observations.append({**told, **observe(scene, named), "images": images})
        seed += 1
    write_json(out / "observations.json", {"observations": observations})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--first", type=int, default=1_000_000)
    given = parser.parse_args()
    record(given.out, given.count, given.first)
    return 0


if __name__ == "__main__":
    sys.exit(main())
