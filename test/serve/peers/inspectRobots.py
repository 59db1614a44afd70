"""inspect-robots' own evaluation and its openpi policy, unchanged, over a robot that only looks and counts.

usage: inspectRobots.py HOST PORT; prints one JSON line of what came back.
"""

import json
import sys
import tempfile

import numpy as np
from inspect_robots import EmbodimentInfo, Observation, Scene, StepResult, Task, eval
from inspect_robots.scorer import episode_length
from inspect_robots_widowx.config import action_box, observation_space
from inspect_robots_widowx.policy import OpenpiPolicy


class Robot:
    """Frames are the number of the step; actions are kept."""

    def __init__(self):
        self.info = EmbodimentInfo(
            "counter", action_box(), observation_space(include_state=False), control_hz=5.0, is_simulated=True
        )
        self.actions = []

    def _see(self, instruction=None):
        frame = np.full((480, 640, 3), len(self.actions), np.uint8)
        return Observation(images={"external_cam": frame}, state={}, instruction=instruction)

    def reset(self, scene, *, seed=None):
        self.actions = []
        return self._see(scene.instruction)

    def step(self, action):
        self.actions.append(np.asarray(action.data).tolist())
        return StepResult(observation=self._see(), reward=0.0, terminated=False, truncated=False, info={})

    def close(self):
        pass


robot = Robot()
policy = OpenpiPolicy(host=sys.argv[1], port=int(sys.argv[2]), action_horizon=5)
task = Task("count", [Scene("one", "pick up the black bowl")], episode_length(), max_steps=20)
with tempfile.TemporaryDirectory() as folder:
    [log] = eval(task, policy, robot, log_dir=folder)
print(
    "RESULT",
    json.dumps({"status": log.status, "actions": robot.actions, "inferences": policy.num_inferences}),
)
