"""POST /act with json-numpy and requests from PyPI, as the reference's robot scripts do it.

usage: actClient.py URL; prints one JSON line of what came back.
"""

import json
import sys

import json_numpy
import numpy as np
import requests

url = sys.argv[1]
observation = {
    "full_image": np.full((224, 224, 3), 10, np.uint8),
    "wrist_image": np.full((224, 224, 3), 200, np.uint8),
    "state": np.asarray(json.loads(sys.argv[2]), np.float64),
    "instruction": sys.argv[3],
}

results = {}
# 1. `encoded`: json_numpy on both ends of a string.
answer = requests.post(f"{url}/act", json={"encoded": json_numpy.dumps(observation)}, timeout=60)
encoded = json_numpy.loads(answer.json())

# 2. plain, with the json module patched, as the reference's client does.
json_numpy.patch()
session = requests.Session()
answer = session.post(f"{url}/act", json=observation, timeout=60)
plain = answer.json()
failed = session.post(f"{url}/act", json={"state": observation["state"]}, timeout=60)

assert isinstance(plain, list) and all(isinstance(row, np.ndarray) for row in plain), plain
assert all(row.dtype == np.float64 for row in plain), [row.dtype for row in plain]
assert all(np.array_equal(a, b) for a, b in zip(plain, encoded, strict=True))
sys.stdout.write(
    "RESULT "
    + json.JSONEncoder().encode({
        "actions": [[float(x) for x in row] for row in plain],
        "shape": list(np.stack(plain).shape),
        "failed": [failed.status_code, failed.json()],
    })
    + "\n"
)
