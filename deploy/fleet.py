"""A fleet of policy servers on Ray Serve: Ray places, watches, scales and rolls the replicas; robots talk to them directly.

    serve deploy deploy/serve.yaml

Two applications: `fleet:directory`, whose endpoint robots ask (directory.py; docs/fleet.md has the protocol), and `fleet:replicas`.
Serve restarts every deployment of an application that it updates, so in one application each update of the policy would take the
directory away just when replicas have to send their robots elsewhere.
"""

import asyncio
import contextlib
import json

import ray
from directory import LEASE_S, MOST_BYTES, Directory, answer, is_local, read_token
from pydantic import BaseModel
from ray import serve
from replica import Membership, Server, end_process
from starlette.requests import Request
from starlette.responses import JSONResponse


class DirectorySettings(BaseModel):
    # Seconds that a robot's place is kept without hearing of it. Robots notice a replica that leaves within a third of it.
    lease_s: float = LEASE_S


class ReplicaSettings(BaseModel):
    # `semanticvla serve` with the checkpoint and its flags, without address, ports and token; the same on every machine.
    command: list[str] | str
    # Name of the application of the directory.
    directory: str = "directory"
    # Where a replica listens, and under which robots find it. Default: the address of its machine in the cluster.
    host: str | None = None
    # Seconds that loading and building engines may take.
    start_s: float = 1800
    # Seconds for the robots of a replica that leaves; graceful_shutdown_timeout_s of the deployment must be longer.
    leave_s: float = 20


@serve.deployment(name="Directory", num_replicas=1, max_ongoing_requests=1000)
class DirectoryEndpoint:
    def __init__(self, lease_s):
        self._directory = Directory(lease_s)
        self._token = read_token()

    async def __call__(self, request: Request):
        path = request.url.path[len(request.scope.get("root_path", "")) :]
        body = await request.body()
        if len(body) > MOST_BYTES:
            return JSONResponse({"error": {"code": "REQUEST_TOO_LARGE", "message": "Too long."}}, 413)
        status, value = answer(self._directory, self._token, request.method, path, request.headers, body)
        return JSONResponse(value, status)

    async def register(self, replica, urls, leaving):
        return {"robots": self._directory.register(replica, urls, leaving), "lease_ms": self._directory.lease_ms}

    async def remove(self, replica):
        self._directory.remove(replica)


@serve.deployment(
    name="Replica",
    num_replicas=2,
    ray_actor_options={"num_gpus": 1},
    health_check_period_s=1,
    health_check_timeout_s=10,
    graceful_shutdown_wait_loop_s=0.1,
    graceful_shutdown_timeout_s=40,
)
class Replica:
    def __init__(self, settings):
        self._settings = settings
        host = settings.host or ray.util.get_node_ip_address()
        if read_token() is None and not is_local(host):
            raise ValueError(f"host {host}: other machines reach it, so it needs SEMANTICVLA_TOKEN in the environment of Ray")
        self._name = serve.get_replica_context().replica_tag
        command = settings.command
        command = json.loads(command) if isinstance(command, str) else command
        self._server = Server(command, host, end_process, settings.start_s)
        self._membership = Membership(self._name, self._server, self._register)

    def _directory(self):
        """Asked for each time: the directory's application may come after this one, or anew."""
        return serve.get_deployment_handle("Directory", self._settings.directory)

    def _register(self, name, urls, leaving):
        return self._directory().register.remote(name, urls, leaving).result(timeout_s=2)

    async def __del__(self):
        """Serve wants this replica gone: the robots move first, between two of their requests."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._membership.leave, self._settings.leave_s)
        with contextlib.suppress(Exception):
            await self._directory().remove.remote(self._name)
        await loop.run_in_executor(None, self._server.stop)


def directory(settings: DirectorySettings) -> serve.Application:
    return DirectoryEndpoint.bind(settings.lease_s)


def replicas(settings: ReplicaSettings) -> serve.Application:
    return Replica.bind(settings)
