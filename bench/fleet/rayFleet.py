"""A Ray cluster on this machine with a fleet of simulated policies (simulatedServer.ts), told by JSON lines on standard input.

{"replicas": N, "version": V}  deploys, or rolls to another version; answers when all are well
{"kill": "replica" | "server"} SIGKILL to a replica's process, or to its policy server
{"wait": N}                    until N replicas are in the directory
"""

import json
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path

root = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(root / "deploy"))

# A busy machine takes longer than Ray waits for its own processes.
os.environ["RAY_agent_register_timeout_ms"] = "180000"

import ray  # noqa: E402
from ray import serve  # noqa: E402

import fleet  # noqa: E402

port, node, latency = int(sys.argv[1]), sys.argv[2], sys.argv[3]
out = os.fdopen(os.dup(1), "w")
# Ray and what it starts write to standard output.
os.dup2(2, 1)


def say(value):
    print(json.dumps(value), file=out, flush=True)


def descendants(words):
    """Processes below this one, by their command line."""
    parents, lines = {}, {}
    for entry in Path("/proc").iterdir():
        try:
            pid = int(entry.name)
            parents[pid] = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
            lines[pid] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (ValueError, OSError):
            continue

    def is_below(pid):
        while pid > 1:
            pid = parents.get(pid, 0)
            if pid == os.getpid():
                return True
        return False

    return [pid for pid, line in lines.items() if words in line and is_below(pid)]


def deploy(replicas, version):
    command = [node, "--import", "tsx", str(root / "bench/fleet/simulatedServer.ts"), "--latency", latency]
    settings = fleet.ReplicaSettings(command=command, host="127.0.0.1", start_s=60 + version)
    replica = fleet.Replica.options(num_replicas=replicas, ray_actor_options={"num_cpus": 0.1}, max_surge_percent=50)
    serve.run(replica.bind(settings), name="replicas", route_prefix=None)


def wait(count):
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/fleet") as answer:
            found = [one for one in json.load(answer)["replicas"] if not one["leaving"]]
        if len(found) == count:
            return
        time.sleep(0.1)


def kill(what):
    words = {"replica": "ray::ServeReplica:replicas:Replica", "server": "simulatedServer.ts"}[what]
    os.kill(descendants(words)[0], signal.SIGKILL)


def start():
    environment = {"env_vars": {"PYTHONPATH": str(root / "deploy")}}
    for left in (2, 1, 0):
        try:
            ray.init(address="local", num_cpus=16, num_gpus=0, include_dashboard=False, log_to_driver=False, runtime_env=environment)
            return
        except Exception:  # noqa: BLE001  it waits half a minute for its node, which a busy machine exceeds
            ray.shutdown()
            if left == 0:
                raise


start()
serve.start(http_options={"port": port})
serve.run(fleet.directory(fleet.DirectorySettings()), name="directory", route_prefix="/fleet")
say({"directory": f"http://127.0.0.1:{port}/fleet"})
for line in sys.stdin:
    order = json.loads(line)
    begun = time.monotonic()
    if "kill" in order:
        kill(order["kill"])
    elif "wait" in order:
        wait(order["wait"])
    else:
        deploy(order["replicas"], order["version"])
    say({"seconds": time.monotonic() - begun})
serve.shutdown()
ray.shutdown()
