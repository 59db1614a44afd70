"""The reference's way of serving, with nothing behind it: FastAPI, uvicorn and json_numpy from PyPI, a policy that answers at
once. Written from its protocol (a POST route that takes a dictionary and answers a JSONResponse).

usage: referenceServer.py PORT
"""

import json
import sys
import traceback
from typing import Any

import json_numpy

json_numpy.patch()
import numpy as np  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from fastapi.responses import JSONResponse  # noqa: E402

ACTIONS = [np.arange(7, dtype=np.float64) + row for row in range(8)]


def null_policy(observation: dict[str, Any], instruction: str) -> list[np.ndarray]:
    if observation["full_image"].shape != (224, 224, 3) or not instruction:
        raise ValueError("no observation")
    return ACTIONS


def act(payload: dict[str, Any]):
    try:
        if encoded := "encoded" in payload:
            payload = json.loads(payload["encoded"])
        actions = null_policy(payload, payload["instruction"])
        return JSONResponse(json_numpy.dumps(actions) if encoded else actions)
    except Exception:
        traceback.print_exc()
        return "error"


app = FastAPI()
app.post("/act")(act)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
