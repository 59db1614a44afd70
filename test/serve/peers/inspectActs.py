"""inspect-robots' policies that ask `POST /act`, unchanged: each asks once.

usage: inspectActs.py URL openvla|go1|molmoact2; prints one JSON line of what came back.
"""

import json
import sys

import numpy as np
from inspect_robots import Observation, Scene
from inspect_robots_agibot_a2.policy import Go1Policy
from inspect_robots_widowx.policy import OpenVLAPolicy
from inspect_robots_yam.policy import ActServerPolicy

url, kind = sys.argv[1:3]
policy_class, cameras, width = {
    "openvla": (OpenVLAPolicy, ["external_cam"], 0),
    "go1": (Go1Policy, ["head_cam", "left_cam", "right_cam"], 16),
    "molmoact2": (ActServerPolicy, ["top_cam", "left_cam", "right_cam"], 14),
}[kind]
policy = policy_class(server_url=url)
policy.reset(Scene("one", "pick up the bowl"))
frames = {camera: np.full((224, 224, 3), 10 * (i + 1), np.uint8) for i, camera in enumerate(cameras)}
chunk = policy.act(Observation(images=frames, state={"joint_pos": np.full(width, 0.5)}, instruction="pick up the bowl"))
print("RESULT", json.dumps([np.asarray(action.data).tolist() for action in chunk.actions]))
