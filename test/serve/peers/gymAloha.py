"""gym-aloha's two arms, driven over openpi's protocol with its own client: chunk by chunk, three cameras.

usage: gymAloha.py HOST PORT STEPS; prints one JSON line of what came back. gym-aloha itself renders three large frames a
step and gives out one; its task's method is replaced by one that renders what the policy looks at.
"""

import json
import os
import sys

os.environ.setdefault("MUJOCO_GL", "osmesa")

import gym_aloha  # noqa: F401  registers its environments
import gymnasium as gym
import numpy as np
from openpi_client import action_chunk_broker, websocket_client_policy

CAMERAS = {"full_image": "top", "left_wrist_image": "left_wrist", "right_wrist_image": "right_wrist"}


def see(task, physics):
    frames = {name: physics.render(224, 224, camera_id=camera) for name, camera in CAMERAS.items()}
    return {"qpos": task.get_qpos(physics), "images": {"top": frames["full_image"], **frames}}


host, port, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
env = gym.make("gym_aloha/AlohaTransferCube-v0", obs_type="pixels_agent_pos", disable_env_checker=True).unwrapped
task, physics = env._env.task, env._env.physics
task.get_observation = lambda physics: see(task, physics)
env.reset(seed=0)
policy = action_chunk_broker.ActionChunkBroker(
    websocket_client_policy.WebsocketClientPolicy(host=host, port=port), action_horizon=25
)
states, actions, spreads = [], [], []
for _ in range(steps):
    seen = see(task, physics)
    states.append(seen["qpos"].tolist())
    frames = {name: seen["images"][name] for name in CAMERAS}
    spreads.append([float(frame.std()) for frame in frames.values()])
    answer = policy.infer({**frames, "state": seen["qpos"], "prompt": "fold the t-shirt on the table"})
    actions.append(answer["actions"].tolist())
    env.step(answer["actions"])
assert np.isfinite(states).all()
print("RESULT", json.dumps({"states": states, "actions": actions, "spreads": spreads}))
