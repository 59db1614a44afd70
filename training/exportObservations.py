"""Frames of collected episodes as `compare-precision` reads them: exportObservations.py OUT --task libero --data FOLDER

Writes OUT/observations.json and the frames beside it, as PNG: `--count` moments, spread evenly over all frames of the
episodes, each with the first sentence of the first family that names its object.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from episodes import EpisodeFile, episode_files
from tasks import read_task


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", required=True)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=400)
    given = parser.parse_args()
    task = read_task(given.task)
    sentences = task.module("sentences")
    episodes = [EpisodeFile(file) for file in episode_files(given.data)]
    moments = [(episode, frame) for episode in episodes for frame in range(episode.frames)]
    if len(moments) < given.count:
        raise SystemExit(f"{given.data}: expected at least {given.count} frames, found {len(moments)}")
    given.out.mkdir(parents=True)
    observations = []
    for at in np.linspace(0, len(moments) - 1, given.count).astype(int):
        episode, frame = moments[at]
        arrays, head = episode.arrays, episode.head
        named = int(arrays["named"][frame])
        told = sentences.fitting(head["objects"], arrays["places"][frame], named, head["notes"], "test")
        fitting = [sentence for family in told.values() for sentence in family]
        if not fitting:
            continue
        images = {}
        for camera, pixels in zip(task.cameras, episode.images(frame), strict=True):
            images[camera] = f"{len(observations):04d}-{camera}.png"
            Image.fromarray(pixels).save(given.out / images[camera])
        observations.append(
            {
                "seed": head["seed"],
                "step": int(arrays["steps"][frame]),
                "named": head["objects"][named],
                "instruction": fitting[0],
                "state": [round(float(value), 7) for value in arrays["states"][frame]],
                "images": images,
            }
        )
    content = json.dumps({"observations": observations}, indent=1) + "\n"
    (given.out / "observations.json").write_text(content, encoding="utf-8")
    print(f"{len(observations)} of {len(moments)} frames")
    return 0


if __name__ == "__main__":
    sys.exit(main())
