"""Drives a policy server in the simulator: closedLoop.py http://127.0.0.1:8777/act --family next [--count 20]

An episode ends with the first cube that is more than 4 cm up, or after 120 steps; it is a success when that is the cube
that the sentence names. Prints one line of JSON, with the 95 % interval of the share (Wilson).
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import sys
import urllib.request
from typing import Any

import numpy as np

from scene import Scene
from sentences import FAMILIES

MOST_STEPS = 120


def _encoded(array: np.ndarray) -> dict[str, Any]:
    """json_numpy's form of an array."""
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"__numpy__": data, "dtype": array.dtype.str, "shape": list(array.shape)}


def _decoded(value: dict[str, Any]) -> Any:  # noqa: ANN401
    if "__numpy__" not in value:
        return value
    return np.frombuffer(base64.b64decode(value["__numpy__"]), np.dtype(value["dtype"])).reshape(value["shape"])


def ask(url: str, scene: Scene, sentence: str) -> list[np.ndarray]:
    """One chunk: actions [7] in order."""
    frames = {camera: _encoded(frame) for camera, frame in scene.frames().items()}
    body = {**frames, "state": _encoded(scene.state().astype(np.float64)), "instruction": sentence}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read(), object_hook=_decoded)


def drive(url: str, scene: Scene, sentence: str, replan: int) -> tuple[str | None, int]:
    """The cube that was lifted, if any, and the steps it took."""
    chunk: list[np.ndarray] = []
    for step in range(MOST_STEPS):
        if not chunk:
            chunk = ask(url, scene, sentence)[:replan]
        scene.step(chunk.pop(0))
        lifted = scene.lifted()
        if lifted is not None:
            return lifted, step + 1
    return None, MOST_STEPS


def wilson(successes: int, count: int, z: float = 1.96) -> list[float]:
    share = successes / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return [round(max(0, middle - half), 3), round(min(1, middle + half), 3)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--family", choices=FAMILIES, required=True)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--replan", type=int, default=4)
    parser.add_argument("--first", type=int, default=1_000_000)
    given = parser.parse_args()
    scene = Scene()
    episodes: list[dict[str, Any]] = []
    seed = given.first
    while len(episodes) < given.count:
        scene.reset(seed)
        task = scene.task(seed, given.family)
        if task is not None:
            named, sentence = task
            lifted, steps = drive(given.url, scene, sentence, given.replan)
            episodes.append({"seed": seed, "sentence": sentence, "named": named, "lifted": lifted, "steps": steps})
        seed += 1
    successes = sum(one["lifted"] == one["named"] for one in episodes)
    summary = {"family": given.family, "replan": given.replan, "success": successes, "of": given.count}
    print(json.dumps({**summary, "interval": wilson(successes, given.count), "episodes": episodes}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
