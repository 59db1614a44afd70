"""Records single moments of many unseen scenes: recordObservations.py OUT --task pick [--count 50] [--stride 1]

Writes OUT/observations.json and the frames beside it, 224 pixels a side. Families of sentences and moments of the
episode take turns, a scene each, from the task's first test seed on. bench/reference/predictObservations.py adds what
the PyTorch twin makes of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from recordFiles import QUALITY, observe, write_frames, write_json
from tasks import read_task


def record(given: argparse.Namespace) -> None:
    task = read_task(given.task)
    arena = task.module("simulator").Arena(task)
    families = given.families or list(task.content["families"])
    given.out.mkdir(parents=True)
    observations: list[dict] = []
    seed = task.content["seeds"]["test"] if given.first is None else given.first
    while len(observations) < given.count:
        at = len(observations)
        family, moment = families[at % len(families)], given.moments[at % len(given.moments)]
        trial = arena.begin(seed, family, "test")
        if trial is not None:
            act = arena.demonstrator()
            for _ in range(moment):
                arena.step(act())
            images = write_frames(given.out, f"{at:02d}-", arena.frames(), side=224, quality=given.quality)
            told = {"seed": seed, "step": moment, "family": family, "named": trial.named, "instruction": trial.sentence}
            observations.append({**told, **observe(arena), "images": images})
        seed += given.stride
    write_json(given.out / "observations.json", {"observations": observations})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", required=True)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--first", type=int, help="seed; default: the task's first test seed")
    parser.add_argument("--stride", type=int, default=1, help="from seed to seed")
    parser.add_argument("--families", nargs="+", help="default: all of the task")
    parser.add_argument("--moments", type=int, nargs="+", default=[0, 6, 12, 18, 24], help="steps")
    parser.add_argument("--quality", type=int, default=QUALITY, help="of the JPEG files")
    record(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
