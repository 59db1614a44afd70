#!/usr/bin/env python3
"""A policy server as a child process: started on free ports, watched, and ended. Standard library only.

Ray Serve's replicas (fleet.py) are made of it. Without Ray, for whatever starts a program again when it has ended (systemd, a
container): SIGTERM lets the robots move first.

    deploy/replica.py --directory http://head:8100 --host 10.0.0.5 -- semanticvla serve CHECKPOINT
"""

import argparse
import contextlib
import ctypes
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

WATCH_S = 1.0
ASK_S = 2.0
"""How long the server may take to say whether it is ready; it answers while it predicts."""
MOST_FAILURES = 3
FIRST_BEAT_S = 1.0
"""Until the directory has said how long a lease lasts."""
STOP_S = 8.0
"""``semanticvla serve`` ends within five seconds of SIGTERM."""


class ServerFailed(Exception):
    pass


def _die_with_parent():
    """The kernel ends the server when this process is killed (prctl PR_SET_PDEATHSIG): it would keep the GPU."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Server:
    """``command`` is `semanticvla serve ...` without address and ports; it prints its URLs as one JSON line."""

    def __init__(self, command, host, on_end, start_s):
        """Returns when it is ready. ``on_end(reason)`` is called, from a thread, if it ends or fails without `stop`."""
        self._on_end = on_end
        self._stopping = threading.Event()
        self._first = queue.Queue()
        self._command = [*command, "--host", host, "--act", "0", "--openpi", "0", "--json"]
        # This thread starts the child and lives as long: the death of the thread that started it would end the child too.
        threading.Thread(target=self._run, name="policy server", daemon=True).start()
        try:
            found = self._first.get(timeout=start_s)
        except queue.Empty:
            self.stop()
            raise ServerFailed(f"not ready within {start_s} s: {' '.join(self._command)}") from None
        if isinstance(found, Exception):
            raise found
        self.urls = found

    @property
    def pid(self):
        return self._child.pid

    def is_ready(self):
        """Whether it would serve a request now."""
        try:
            with urllib.request.urlopen(self.urls["act"] + "/readyz", timeout=ASK_S) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self):
        """It answers the running request and ends. Idempotent."""
        self._stopping.set()
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def _run(self):
        try:
            self._child = subprocess.Popen(self._command, stdout=subprocess.PIPE, preexec_fn=_die_with_parent)
        except OSError as error:
            self._first.put(ServerFailed(f"{self._command[0]}: {error}"))
            return
        line = self._child.stdout.readline()
        try:
            urls = json.loads(line)
            self.urls = {protocol: urls[protocol] for protocol in ("act", "openpi")}
        except (ValueError, KeyError, TypeError):
            self._first.put(ServerFailed(f"no addresses from {' '.join(self._command)}, exit code {self._child.wait()}"))
            return
        self._first.put(self.urls)
        reason = self._watch()
        # One that does not answer does not hear SIGTERM either.
        self._child.kill()
        if not self._stopping.is_set():
            self._on_end(reason)

    def _watch(self):
        failures = 0
        while failures < MOST_FAILURES or self._stopping.is_set():
            try:
                return f"exit code {self._child.wait(WATCH_S)}"
            except subprocess.TimeoutExpired:
                failures = 0 if self.is_ready() else failures + 1
        return f"not ready, {failures} times in a row"


class Membership:
    """Keeps a replica in the directory while it is ready, from the start.

    ``register(name, urls, leaving)`` returns the directory's answer.
    """

    def __init__(self, name, server, register):
        self._name = name
        self._server = server
        self._register = register
        self._beat_s = FIRST_BEAT_S
        self._leaving = threading.Event()
        self.robots = 0
        if server.is_ready():
            self._beat()
        threading.Thread(target=self._run, name="membership", daemon=True).start()

    def leave(self, patience_s):
        """No new robots; returns when those it has have moved, or after ``patience_s``.

        A directory that does not answer, for instance because it starts anew, is waited for too as long as robots are here:
        without it they have nowhere to go.
        """
        self._leaving.set()
        until = time.monotonic() + patience_s
        failures = 0
        while time.monotonic() < until and (self.robots > 0 or failures < MOST_FAILURES):
            failures = 0 if self._beat() else failures + 1
            # The last ones may still wait for an answer, and for their new connection.
            time.sleep(self._beat_s)
            if failures == 0 and self.robots == 0:
                return

    def _run(self):
        while not self._leaving.wait(self._beat_s):
            if self._server.is_ready():
                self._beat()

    def _beat(self):
        try:
            answer = self._register(self._name, self._server.urls, self._leaving.is_set())
            self.robots, self._beat_s = answer["robots"], answer["lease_ms"] / 3000
            return True
        except Exception:  # noqa: BLE001  whatever a directory that starts anew does
            return False


def end_process(reason):
    """A replica without its server must go at once: it would be fast, and useless. Whoever runs replicas starts another."""
    print(f"policy server: {reason}; this replica ends", flush=True)
    os._exit(1)


def main():
    parser = argparse.ArgumentParser(description="A policy server in a fleet, without Ray.")
    parser.add_argument("--directory", required=True, help="URL; its token is in SEMANTICVLA_TOKEN")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, under which robots find it")
    parser.add_argument("--start-s", type=float, default=1800, help="seconds that loading may take")
    parser.add_argument("--leave-s", type=float, default=20, help="seconds for the robots to move")
    parser.add_argument("command", nargs="+", help="after --: semanticvla serve ... without address and ports")
    options = parser.parse_args()
    headers = {"content-type": "application/json"}
    if os.environ.get("SEMANTICVLA_TOKEN"):
        headers["authorization"] = f"Bearer {os.environ['SEMANTICVLA_TOKEN']}"
    name = f"{socket.gethostname()} {os.getpid()}"

    def tell(fields):
        body = json.dumps({"replica": name, **fields}).encode()
        request = urllib.request.Request(options.directory.rstrip("/") + "/replicas", body, headers)
        with urllib.request.urlopen(request, timeout=2) as answer:
            return json.load(answer)

    server = Server(options.command, options.host, end_process, options.start_s)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    membership = Membership(name, server, lambda _, urls, leaving: tell({"urls": urls, "leaving": leaving}))
    print(json.dumps(server.urls), flush=True)
    ended.wait()
    membership.leave(options.leave_s)
    with contextlib.suppress(OSError):
        tell({"remove": True})
    server.stop()


if __name__ == "__main__":
    try:
        main()
    except ServerFailed as error:
        sys.exit(f"policy server: {error}")
