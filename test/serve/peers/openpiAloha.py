"""openpi-client from PyPI with an observation as openpi's ALOHA robots send it: images by camera, channels first.

usage: openpiAloha.py HOST PORT; prints one JSON line of what came back.
"""

import json
import sys

import numpy as np
from openpi_client import websocket_client_policy

client = websocket_client_policy.WebsocketClientPolicy(host=sys.argv[1], port=int(sys.argv[2]))
names = ["cam_high", "cam_left_wrist", "cam_right_wrist"]
frames = [np.random.default_rng(i).integers(0, 256, (4, 5, 3), np.uint8) for i in range(3)]
images = {name: np.transpose(frame, (2, 0, 1)) for name, frame in zip(names, frames)}
answer = client.infer({"state": np.ones(14), "images": images, "prompt": "fold the t-shirt"})
print("RESULT", json.dumps({"frames": [f.flatten().tolist() for f in frames], "actions": answer["actions"].tolist()}))
