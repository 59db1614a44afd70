"""Policies that an evaluation asks: servers of POST /act, the program's or the twin's, started here or elsewhere."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "semanticvla"


def encoded(array: np.ndarray) -> dict[str, Any]:
    """json_numpy's form of an array."""
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"__numpy__": data, "dtype": array.dtype.str, "shape": list(array.shape)}


def decoded(value: dict[str, Any]) -> Any:  # noqa: ANN401
    if "__numpy__" not in value:
        return value
    return np.frombuffer(base64.b64decode(value["__numpy__"]), np.dtype(value["dtype"])).reshape(value["shape"])


def ask(url: str, frames: dict[str, np.ndarray], state: np.ndarray, sentence: str) -> list[np.ndarray]:
    """One chunk: actions in order."""
    images = {camera: encoded(frame) for camera, frame in frames.items()}
    body = {**images, "state": encoded(state.astype(np.float64)), "instruction": sentence}
    request = urllib.request.Request(f"{url}/act", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read(), object_hook=decoded)


@contextmanager
def program(folder: Path) -> Iterator[str]:
    """`semanticvla serve` on one thread; its address."""
    command = ["node", str(HERE.parent / "bin" / "semanticvla.js"), "serve", str(folder)]
    options = ["--act", "0", "--no-openpi", "--threads", "1", "--json", "--log-level", "silent"]
    with _served([*command, *options]) as url:
        yield url


@contextmanager
def twin(folder: Path) -> Iterator[str]:
    """PyTorch on one thread, in the environment that bench/reference/setup.sh makes."""
    python = CACHE / "bench-venv" / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"{python} is not there: bench/reference/setup.sh makes it")
    with _served([str(python), str(HERE / "serveTwin.py"), str(folder)]) as url:
        yield url


@contextmanager
def _served(command: list[str]) -> Iterator[str]:
    """A server that prints {"act": URL} on a line of its own once it listens."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    # not in our group: Ctrl-C is for us, who end it
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    try:
        assert server.stdout is not None
        address = next((line for line in server.stdout if line.startswith('{"act"')), None)
        if address is None:
            raise SystemExit(f"{' '.join(command)}: ended with code {server.wait()} before it served")
        yield json.loads(address)["act"]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)
