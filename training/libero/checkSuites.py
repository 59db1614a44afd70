"""What evaluateSuite.py drives without a server, in LIBERO-Spatial and in suites of LIBERO-PRO: checkSuites.py

Prints one line of JSON: by suite and task what came of each episode, and what is said where a suite is refused.
"""

from __future__ import annotations

import contextlib
import io
import json

from evaluateSuite import Episode, drive, main

from scene import Scene

DRIVEN = {
    ("libero_spatial", 4): ("demonstrator official 0", "demonstrator official 1", "demonstrator others 0"),
    ("libero_spatial_swap", 0): ("demonstrator official 0",),
    ("libero_spatial_task", 0): ("replay official 1", "replay others 1"),
    ("libero_spatial_lan", 0): ("demonstrator official 0", "demonstrator others 0"),
    ("libero_object_task", 1): ("demonstrator official 0", "demonstrator wide 0"),
}
"""By suite and task: policy, scenes and index of episodes."""
REFUSED = ("libero_goal official", "libero_spatial_swap wide", "libero_spatial_lan held-out")


def driven(suite: str, task: int, asked: tuple[str, ...]) -> list[dict[str, object]]:
    scene, replays = Scene(suite, task, side=64), {}
    ended = []
    for one in asked:
        policy, scenes, index = one.split()
        episode = Episode(suite, task, scenes, int(index), "official", policy, control="none", replan=8, full=False)
        ended.append(drive(scene, episode, None, replays))
    scene.close()
    return ended


def refused(suite: str, scenes: str) -> str:
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.suppress(SystemExit):
        main(["unused", "--policy", "demonstrator", "--suite", suite, "--scenes", scenes])
    return told.getvalue().strip().splitlines()[-1]


if __name__ == "__main__":
    said = [refused(*one.split()) for one in REFUSED]
    ended = {f"{suite} {task}": driven(suite, task, asked) for (suite, task), asked in DRIVEN.items()}
    print("RESULT", json.dumps({"refused": said, "driven": ended}))
