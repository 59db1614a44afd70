"""openpi's way of serving, with nothing behind it: websockets and openpi-client's msgpack_numpy from PyPI, a policy that
answers at once. Written from its protocol: metadata first, then an answer a message, no compression, no limit of size.

usage: referenceOpenpi.py PORT
"""

import asyncio
import http
import sys
import time

import numpy as np
from openpi_client import msgpack_numpy
from websockets.asyncio.server import Request, Response, ServerConnection, serve

ACTIONS = np.arange(7, dtype=np.float64) + np.arange(8)[:, None]


def null_policy(observation: dict) -> dict:
    if observation["full_image"].shape != (224, 224, 3) or not observation["prompt"]:
        raise ValueError("no observation")
    return {"actions": ACTIONS}


async def answer(connection: ServerConnection) -> None:
    packer = msgpack_numpy.Packer()
    await connection.send(packer.pack({"server": "reference"}))
    previous_ms = None
    async for message in connection:
        start = time.monotonic()
        observation = msgpack_numpy.unpackb(message)
        begin = time.monotonic()
        result = null_policy(observation)
        timing = {"infer_ms": 1e3 * (time.monotonic() - begin)}
        if previous_ms is not None:
            timing["prev_total_ms"] = previous_ms
        await connection.send(packer.pack(result | {"server_timing": timing}))
        previous_ms = 1e3 * (time.monotonic() - start)


def health(connection: ServerConnection, request: Request) -> Response | None:
    return connection.respond(http.HTTPStatus.OK, "OK\n") if request.path in ("/healthz", "/docs") else None


async def main() -> None:
    server = await serve(
        answer, "127.0.0.1", int(sys.argv[1]), compression=None, max_size=None, ping_interval=None,
        process_request=health,
    )
    await server.serve_forever()


asyncio.run(main())
