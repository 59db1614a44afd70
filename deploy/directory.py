#!/usr/bin/env python3
"""The directory of a fleet: which replica a robot uses, and when it moves (docs/fleet.md has the protocol).

Standard library only. Ray Serve's endpoint (fleet.py) is this class; without Ray it is a server of its own:

    deploy/directory.py --port 8000        # SEMANTICVLA_TOKEN where other machines ask it

It keeps nothing: robots and replicas say again and again what they have, so one that starts anew knows all within a lease.
Times are durations of this process's monotonic clock; no clock of another machine counts.
"""

import argparse
import hmac
import ipaddress
import json
import os
import re
import sys
import threading
import time
from base64 import b64decode
from collections import Counter, OrderedDict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROTOCOLS = ("act", "openpi")
LEASE_S = 3.0
"""A robot asks three times as often, a replica too."""
MOST_BYTES = 65536


@dataclass
class Replica:
    urls: dict
    until: float
    leaving: bool
    """A robot could not reach it, and it has not said since that it is well: no robot is sent to it."""
    suspect: bool = False


class Directory:
    """Robots and replicas of one policy. Not thread-safe."""

    def __init__(self, lease_s=LEASE_S, clock=time.monotonic):
        self._lease_s = lease_s
        self._clock = clock
        self._begun = clock()
        self._replicas = {}
        # robot -> (replica, until), the one that is due first in front
        self._leases = OrderedDict()
        self._robots = Counter()

    @property
    def lease_ms(self):
        return round(1000 * self._lease_s)

    def register(self, replica, urls, leaving=False):
        """A replica is well, for one lease. One that is leaving gets no robots, and those it has move at their next renewal.

        Returns how many robots it has.
        """
        self._expire()
        self._replicas[replica] = Replica(dict(urls), self._clock() + self._lease_s, leaving)
        return self._robots[replica]

    def remove(self, replica):
        self._replicas.pop(replica, None)

    def release(self, robot):
        held = self._leases.pop(robot, None)
        if held is not None:
            self._robots[held[0]] -= 1

    def lease(self, robot, protocol, current, avoid):
        """The address of the replica that the robot uses from now on; None if there is none.

        It stays where it is unless its replica is leaving, is one that it cannot reach, or has at least two robots more than
        another. ``current`` is the address that it uses, ``avoid`` those that did not answer it.
        """
        self._expire()
        for replica in self._replicas.values():
            if replica.urls.get(protocol) in avoid:
                replica.suspect = True
        self.release(robot)

        def burden(name):
            replica = self._replicas[name]
            url = replica.urls[protocol]
            return (
                replica.leaving,
                url in avoid,
                replica.suspect and url != current,
                self._robots[name],
                url != current,
            )

        speaking = [name for name, replica in self._replicas.items() if protocol in replica.urls]
        is_known = any(self._replicas[name].urls[protocol] == current for name in speaking)
        if current is not None and not is_known and self._clock() - self._begun < self._lease_s:
            # This directory has just started, and not every replica has come back.
            return current
        if not speaking:
            return None
        chosen = min(speaking, key=burden)
        self._leases[robot] = (chosen, self._clock() + self._lease_s)
        self._robots[chosen] += 1
        return self._replicas[chosen].urls[protocol]

    def summary(self):
        self._expire()
        return {
            "lease_ms": self.lease_ms,
            "replicas": [
                {"urls": replica.urls, "robots": self._robots[name], "leaving": replica.leaving}
                for name, replica in self._replicas.items()
            ],
        }

    def _expire(self):
        now = self._clock()
        for name in [name for name, replica in self._replicas.items() if replica.until <= now]:
            del self._replicas[name]
        while self._leases:
            robot, (_, until) = next(iter(self._leases.items()))
            if until > now:
                break
            self.release(robot)
        for name in [name for name, count in self._robots.items() if count == 0]:
            del self._robots[name]


class Invalid(Exception):
    pass


def _field(fields, name, kind):
    value = fields.get(name)
    if not isinstance(value, kind):
        raise Invalid(f"Field {name}: expected {kind.__name__}, found {type(value).__name__}.")
    return value


def _robot(directory, fields):
    robot = _field(fields, "robot", str)
    if fields.get("release") is True:
        directory.release(robot)
        return 200, {}
    protocol = fields.get("protocol")
    if protocol not in PROTOCOLS:
        raise Invalid(f"Field protocol: expected {' or '.join(PROTOCOLS)}, found {protocol!r:.40}.")
    current = fields.get("replica")
    if current is not None and not isinstance(current, str):
        raise Invalid("Field replica: expected an address or null.")
    avoid = [one for one in fields.get("avoid") or [] if isinstance(one, str)]
    url = directory.lease(robot, protocol, current, avoid)
    if url is None:
        return _error(503, "NO_REPLICA", "No replica is there. Ask again.")
    return 200, {"replica": url, "lease_ms": directory.lease_ms}


def _replica(directory, fields):
    name = _field(fields, "replica", str)
    if fields.get("remove") is True:
        directory.remove(name)
        return 200, {}
    urls = {key: value for key, value in _field(fields, "urls", dict).items() if key in PROTOCOLS and isinstance(value, str)}
    robots = directory.register(name, urls, fields.get("leaving") is True)
    return 200, {"robots": robots, "lease_ms": directory.lease_ms}


def _error(status, code, message):
    return status, {"error": {"code": code, "message": message}}


def _has_access(token, headers):
    if token is None:
        return True
    match = re.fullmatch(r"(Bearer|Api-Key|Basic) +(\S+) *", headers.get("authorization", ""), re.IGNORECASE)
    if match is None:
        return False
    given = [match[2].encode()]
    if match[1].lower() == "basic":
        try:
            given = b64decode(given[0]).split(b":", 1)
        except ValueError:
            return False
    return any(hmac.compare_digest(one, token.encode()) for one in given)


def answer(directory, token, method, path, headers, body):
    """One HTTP request: (status, JSON). ``path`` is what follows the directory's address; header names are in lower case."""
    if "origin" in headers:
        return _error(403, "FORBIDDEN", "Requests of web pages are refused.")
    if path.strip("/") == "healthz":
        return 200, {}
    if not _has_access(token, headers):
        return _error(401, "UNAUTHORIZED", "Expected the header `Authorization: Bearer <token>` with the right token.")
    page = {"": _robot, "replicas": _replica}.get(path.strip("/"))
    if page is None:
        return _error(404, "NOT_FOUND", "Nothing is here. Robots POST to the directory's address, replicas to its /replicas.")
    if method == "GET":
        return 200, directory.summary()
    if method != "POST":
        return _error(405, "METHOD_NOT_ALLOWED", "Expected POST.")
    try:
        fields = json.loads(body)
        if not isinstance(fields, dict):
            raise Invalid("Expected an object.")
        return page(directory, fields)
    except (ValueError, Invalid) as error:
        return _error(400, "REQUEST_INVALID", str(error)[:300])


def is_local(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token():
    token = os.environ.get("SEMANTICVLA_TOKEN") or None
    if token is not None and not re.fullmatch(r"[\x21-\x7e]{16,}", token):
        sys.exit("SEMANTICVLA_TOKEN: expected at least 16 printable characters without spaces; `openssl rand -hex 32` makes one.")
    return token


def main():
    parser = argparse.ArgumentParser(description="The directory of a fleet, without Ray.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--lease-s", type=float, default=LEASE_S, help="seconds that a robot's place is kept; default: 3")
    options = parser.parse_args()
    token = read_token()
    if token is None and not is_local(options.host):
        sys.exit(f"--host {options.host}: other machines reach it, so it needs a token in SEMANTICVLA_TOKEN.")
    directory = Directory(options.lease_s)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60
        # else the answer waits for the client to acknowledge its head
        wbufsize = -1

        def _take(self):
            length = self.headers.get("content-length", "0")
            if not re.fullmatch(r"\d{1,9}", length) or int(length) > MOST_BYTES:
                self.close_connection = True
                result = _error(413, "REQUEST_TOO_LARGE", f"Expected at most {MOST_BYTES} bytes.")
            else:
                body = self.rfile.read(int(length))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with lock:
                    result = answer(directory, token, self.command, self.path, headers, body)
            text = json.dumps(result[1]).encode()
            self.send_response(result[0])
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = _take

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request, client_address):
            # A robot that is gone is no error.
            if not isinstance(sys.exc_info()[1], ConnectionError):
                super().handle_error(request, client_address)

    server = Server((options.host, options.port), Handler)
    print(json.dumps({"directory": f"http://{options.host}:{server.server_port}"}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
