"""What scene.py and renderer.py leave out of LIBERO's environment changes nothing: checkScenes.py

Prints one line of JSON: how far the arm, the objects and the frames are from LIBERO's own environment, driven by the
demonstrator's actions from an official state; and whether a seed gives the same episode after another one.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

os.environ.setdefault("MUJOCO_GL", "osmesa")  # as scene.py; LIBERO is imported before it
sys.path.append(str(Path(__file__).resolve().parent.parent))

from arena import Arena, Recorder
from demonstrator import demonstrated
from libero.libero import get_libero_path
from libero.libero.envs import OffScreenRenderEnv

from scene import IDLE, WAIT, Scene, axis_angle
from tasks import read_task

SIDE = 64


def against_own(task: int, index: int) -> dict[str, object]:
    """Largest differences at the end of the demonstrator's episode; frames are those of `full`, at the start."""
    scene = Scene("libero_object", task, SIDE)
    file = Path(get_libero_path("bddl_files"), scene.task.problem_folder, scene.task.bddl_file)
    own = OffScreenRenderEnv(bddl_file_name=str(file), camera_heights=SIDE, camera_widths=SIDE)
    own.seed(0)
    own.reset()
    seen = own.set_init_state(scene.states[index])
    for _ in range(WAIT):
        seen, *_ = own.step(list(IDLE))
    full = Scene("libero_object", task, SIDE, full=True)
    full.start_official(index)
    ours, theirs = full.frames()["full_image"], seen["agentview_image"][::-1, ::-1]
    frames = float(np.abs(ours.astype(int) - theirs).mean())
    full.close()
    scene.start_official(index)
    actions = list(demonstrated(scene))
    steps, success = 0, False
    while not success and steps < len(actions):
        seen, _, success, _ = own.step(actions[steps])
        steps += 1
    position = [*seen["robot0_eef_pos"], *axis_angle(seen["robot0_eef_quat"])]
    ids = [own.env.obj_body_id[body] for body in scene.objects]
    objects = own.sim.data._data.xpos[ids] - scene.positions()
    out = {
        "steps": [len(actions), steps],
        "success": bool(success),
        "arm": float(np.abs(position - scene.state()[:6]).max()),
        "objects": float(np.abs(objects).max()),
        "frames": frames,
    }
    scene.close()
    own.close()
    return out


def is_repeatable(seed: int) -> bool:
    """The same episode, whatever was recorded before."""
    recorder = Recorder(read_task("libero"))
    first = recorder.record(seed).tensors()
    recorder.record(seed + 1)
    again = recorder.record(seed).tensors()
    return all(np.array_equal(first[name], again[name], equal_nan=name == "pixels") for name in first)


def is_arena_whole() -> bool:
    """What is played blindly was recorded elsewhere, and the scene waits as it was laid out."""
    arena = Arena(read_task("libero"))
    trial = arena.begin(1_000_000, "official", "test")
    before = arena.frames()["full_image"]
    actions = arena.blind()
    same = bool(np.array_equal(before, arena.frames()["full_image"]))
    return same and trial is not None and arena.done() is None and len(actions) > WAIT


if __name__ == "__main__":
    print("RESULT", json.dumps({**against_own(0, 3), "repeatable": is_repeatable(0), "arena": is_arena_whole()}))
