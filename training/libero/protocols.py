"""Whom to ask for actions: a policy that is served, over either protocol, as a robot's program would.

A policy is called with frames (uint8 RGB by camera), state [8] and sentence, and gives a chunk [C, 7] in the units of
LIBERO's data sets (gripper 0 closed .. 1 open).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
from websockets.sync.client import connect

import policies

Policy = Callable[[dict[str, np.ndarray], np.ndarray, str], np.ndarray]


def served(url: str) -> Policy:
    """`http://HOST:PORT` (`POST /act`) or `ws://HOST:PORT` (openpi)."""
    if url.startswith(("ws://", "wss://")):
        return _openpi(url)
    base = url.rstrip("/").removesuffix("/act")
    return lambda frames, state, sentence: np.stack(policies.ask(base, frames, state, sentence))


def _openpi(url: str) -> Policy:
    socket = connect(url, compression=None, max_size=None)
    socket.recv()  # what the server says of its policy

    def packed(array: np.ndarray) -> dict[bytes, Any]:
        data = np.ascontiguousarray(array).tobytes()
        return {b"__ndarray__": True, b"data": data, b"dtype": array.dtype.str, b"shape": list(array.shape)}

    def ask(frames: dict[str, np.ndarray], state: np.ndarray, sentence: str) -> np.ndarray:
        request = {name: packed(frame) for name, frame in frames.items()}
        request |= {"state": packed(state.astype(np.float64)), "prompt": sentence}
        socket.send(msgpack.packb(request))
        answer = socket.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)
        actions = msgpack.unpackb(answer, raw=False, strict_map_key=False)["actions"]
        part = {key.decode() if isinstance(key, bytes) else key: value for key, value in actions.items()}
        return np.frombuffer(part["data"], np.dtype(part["dtype"])).reshape(part["shape"])

    return ask
