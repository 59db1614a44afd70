"""vla-eval from PyPI, unchanged: its own evaluation loop over a benchmark that only looks and counts, and an error.

usage: vlaEval.py URL; prints one JSON line of what came back.
"""

import json
import logging
import sys

import anyio
import numpy as np
import vla_eval
from vla_eval.benchmarks.base import StepBenchmark, StepResult
from vla_eval.connection import Connection
from vla_eval.specs import GRIPPER_CLOSE_POS, IMAGE_RGB, LANGUAGE, POSITION_DELTA, ROTATION_AA, STATE_EEF_POS_AA_GRIP

STEPS = 5
seen = {"episodes": [], "params": None, "warnings": []}


class Warnings(logging.Handler):
    def emit(self, record):
        if "mismatch" in record.getMessage():
            seen["warnings"].append(record.getMessage())


logging.getLogger("vla_eval.orchestrator").addHandler(Warnings())


class Counter(StepBenchmark):
    """Frames and states are the number of the step; actions are kept."""

    def __init__(self, send_wrist_image=False, send_state=False, env_seed=7, quat_no_antipodal=False):
        super().__init__()
        seen["params"] = [send_wrist_image, send_state, env_seed, quat_no_antipodal]

    def get_tasks(self):
        return [{"name": "pick up the bowl"}]

    def reset(self, task):
        seen["episodes"].append([])
        return 0

    def step(self, action):
        seen["episodes"][-1].append(np.asarray(action["actions"]).tolist())
        step = len(seen["episodes"][-1])
        return StepResult(obs=step, reward=0.0, done=step == STEPS, info={})

    def make_obs(self, raw_obs, task):
        frame = np.full((32, 32, 3), raw_obs, np.uint8)
        images = {"agentview": frame, "wrist": frame + 100}
        return {"images": images, "task_description": task["name"], "states": np.full(8, raw_obs, np.float64)}

    def get_step_result(self, step_result):
        return {"success": step_result.done}

    def get_metadata(self):
        return {"max_steps": 20}

    def get_action_spec(self):
        return {"position": POSITION_DELTA, "rotation": ROTATION_AA, "gripper": GRIPPER_CLOSE_POS}

    def get_observation_spec(self):
        return {"agentview": IMAGE_RGB, "wrist": IMAGE_RGB, "state": STATE_EEF_POS_AA_GRIP, "language": LANGUAGE}


async def refused(url):
    async with Connection(url) as connection:
        await connection.start_episode({})
        try:
            await connection.act({"task_description": "pick up the bowl"})
        except RuntimeError as error:
            return str(error)


url = sys.argv[1]
config = {
    "server": {"url": url},
    "benchmarks": [{"benchmark": "__main__:Counter", "episodes_per_task": 2}],
}
[result] = vla_eval.run(config, docker=False, no_save=True)
seen["success"] = result["mean_success"]
seen["error"] = anyio.run(refused, url)
print("RESULT", json.dumps(seen))
