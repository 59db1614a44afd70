"""What scene.py and renderer.py leave out of LIBERO's environment changes nothing: checkScenes.py

Prints one line of JSON. For each suite: how far the arm, the objects and the frames are from LIBERO's own
environment, driven by the demonstrator's actions from an official state; and whether a seed gives the same episode
after another one. For LIBERO-Spatial also in how many official states the bowl's name, told from where it stands, is
the task's sentence.
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
from layouts import Scenes
from libero.libero import benchmark, get_libero_path
from libero.libero.envs import OffScreenRenderEnv
from suites import suite_of

from scene import CAMERAS, IDLE, WAIT, Scene, axis_angle
from tasks import read_task

SIDE = 64
TASKS = {"libero": (0, 3), "libero-spatial": (5, 2)}
"""By task of training/, the suite's task and the state that are compared; the bowl on the ramekin is easily tipped."""


def against_own(suite: str, task: int, index: int) -> dict[str, object]:
    """Largest differences at the end of the demonstrator's episode; frames are those of `full`, at the start."""
    scene = Scene(suite, task, SIDE)
    file = Path(get_libero_path("bddl_files"), scene.task.problem_folder, scene.task.bddl_file)
    own = OffScreenRenderEnv(bddl_file_name=str(file), camera_heights=SIDE, camera_widths=SIDE)
    own.seed(index)  # as start_official
    own.reset()
    seen = own.set_init_state(scene.states[index])
    for _ in range(WAIT):
        seen, *_ = own.step(list(IDLE))
    for camera in CAMERAS.values():  # what it draws from here on is not looked at
        own.env.modify_observable(f"{camera}_image", "enabled", False)
    full = Scene(suite, task, SIDE, full=True)
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


def is_repeatable(recorder: Recorder, seed: int) -> bool:
    """The same episode, whatever was recorded before."""
    first = recorder.record(seed).tensors()
    recorder.record(seed + 1)
    again = recorder.record(seed).tensors()
    return all(np.array_equal(first[name], again[name], equal_nan=name == "pixels") for name in first)


def is_arena_whole(arena: Arena) -> bool:
    """What is played blindly was recorded elsewhere, and the scene waits as it was laid out."""
    trial = arena.begin(1_000_000, "official", "test")
    before = arena.frames()["full_image"]
    actions = arena.blind()
    same = bool(np.array_equal(before, arena.frames()["full_image"]))
    return same and trial is not None and arena.done() is None and len(actions) > WAIT


def named_as_told(scene: Scene, states: int) -> list[int]:
    """Official states of LIBERO-Spatial in which the bowl's name makes the task's sentence, and how many were looked
    at. The ten tasks are one scene: which bowl stands where is in their states."""
    suite = suite_of("libero_spatial")
    tasks = benchmark.get_benchmark_dict()[suite.name]()
    same = []
    for task in range(tasks.get_num_tasks()):
        scene.states = np.asarray(tasks.get_task_init_states(task))
        for index in range(states):
            scene.start_official(index)
            name = suite.names(scene).get(scene.target, "")
            same.append(suite.words.say(name) == tasks.get_task(task).language)
    return [sum(same), len(same)]


if __name__ == "__main__":
    found = {}
    scenes = Scenes(256)  # for recorder and arena, since a scene takes seconds to make
    for name, compared in TASKS.items():
        task = read_task(name)
        found[name] = {
            **against_own(task.content["suite"], *compared),
            "repeatable": is_repeatable(Recorder(task, scenes), 0),
            "arena": is_arena_whole(Arena(task, scenes)),
        }
    print("RESULT", json.dumps({"tasks": found, "named": named_as_told(scenes.get("libero_spatial", 0), 2)}))
