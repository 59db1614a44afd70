"""openpi-client from PyPI, unchanged.

usage: openpiClient.py HOST PORT API_KEY STATE INSTRUCTION; prints one JSON line of what came back.
"""

import json
import sys

import numpy as np
from openpi_client import action_chunk_broker, websocket_client_policy

host, port, key, state, instruction = sys.argv[1:6]
client = websocket_client_policy.WebsocketClientPolicy(host=host, port=int(port), api_key=key or None)
observation = {
    "full_image": np.full((224, 224, 3), 10, np.uint8),
    "wrist_image": np.full((224, 224, 3), 200, np.uint8),
    "state": np.asarray(json.loads(state), np.float32),
    "prompt": instruction,
}
first = client.infer(observation)
second = client.infer(observation | {"gain": np.float32(1.5)})
broker = action_chunk_broker.ActionChunkBroker(client, action_horizon=2)
rows = [broker.infer(observation)["actions"] for _ in range(2)]
try:
    client.infer({"prompt": instruction})
    error = None
except RuntimeError as caught:
    error = str(caught)

assert isinstance(first["actions"], np.ndarray)
print(
    "RESULT",
    json.dumps({
        "metadata": {k: v for k, v in client.get_server_metadata().items() if isinstance(v, (str, int, list))},
        "actions": first["actions"].tolist(),
        "dtype": first["actions"].dtype.str,
        "rows": [row.tolist() for row in rows],
        "timing": [sorted(first["server_timing"]), sorted(second["server_timing"])],
        "error": error,
    }),
)
