#!/usr/bin/env python3
"""The simulator as a process: one JSON request a line on standard input, one JSON answer a line on standard output.

    {"reset": SEED, "family": "colour"}  -> {"task": {"named", "sentence"} or null, "state": [8], "cubes": [names]}
    {"step": [7]}                        -> {"state": [8], "lifted": name or null}
    {"frames": true}                     -> {"frames": {camera: [height, width, 3]}}, then the bytes, uint8 RGB

`bench/simulation/closedLoop.ts` drives it: control loops in TypeScript close over the same scenes as evaluate.py.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np

from scene import Scene


def answer(scene: Scene, request: dict[str, Any]) -> tuple[dict[str, Any], list[np.ndarray]]:
    if "reset" in request:
        seed = int(request["reset"])
        scene.reset(seed)
        task = scene.task(seed, request["family"])
        named = None if task is None else {"named": task[0], "sentence": task[1]}
        return {"task": named, "state": scene.state().tolist(), "cubes": scene.layout.names}, []
    if "step" in request:
        scene.step(np.asarray(request["step"], np.float64))
        return {"state": scene.state().tolist(), "lifted": scene.lifted()}, []
    frames = scene.frames()
    return {"frames": {name: list(frame.shape) for name, frame in frames.items()}}, list(frames.values())


def main() -> int:
    # What libraries print must not end up between the answers.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    scene = Scene()
    for line in sys.stdin:
        head, frames = answer(scene, json.loads(line))
        out.write(json.dumps(head).encode() + b"\n")
        for frame in frames:
            out.write(frame.tobytes())
        out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
