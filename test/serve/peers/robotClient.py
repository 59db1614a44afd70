"""LeRobot's own robot client, unchanged, over a robot that only looks and counts.

usage: robotClient.py HOST:PORT; prints one JSON line of what came back.
"""

import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass

address = sys.argv[1]
os.chdir(tempfile.mkdtemp())  # it writes its log into the folder where it runs

import numpy as np
from lerobot.async_inference import robot_client
from lerobot.async_inference.configs import RobotClientConfig
from lerobot.robots import Robot, RobotConfig

MOTORS = ["shoulder_pan.pos", "elbow_flex.pos", "gripper.pos"]
CAMERA = ["front"]
ACTIONS = 8


@RobotConfig.register_subclass("counter")
@dataclass
class CounterConfig(RobotConfig):
    pass


class Counter(Robot):
    """The first joint and the frames are the number of actions before; actions are kept."""

    config_class = CounterConfig
    name = "counter"
    is_connected = is_calibrated = True

    def __init__(self, config):
        self.actions = []
        self.camera = CAMERA[0]

    @property
    def observation_features(self):
        return {**{motor: float for motor in MOTORS}, self.camera: (48, 64, 3)}

    @property
    def action_features(self):
        return {motor: float for motor in MOTORS}

    def get_observation(self):
        count = len(self.actions)
        state = dict(zip(MOTORS, [float(count), 2.0, 3.0]))
        return {**state, self.camera: np.full((48, 64, 3), count % 256, np.uint8)}

    def send_action(self, action):
        self.actions.append([action[motor] for motor in MOTORS])
        return action

    def connect(self, calibrate=True):
        pass

    def disconnect(self):
        pass

    def calibrate(self):
        pass

    def configure(self):
        pass


robot_client.make_robot_from_config = Counter


def client_of(camera):
    CAMERA[0] = camera
    return robot_client.RobotClient(
        RobotClientConfig(
            robot=CounterConfig(),
            server_address=address,
            policy_type="act",
            pretrained_name_or_path="as-served",
            actions_per_chunk=4,
            task="pick up the bowl",
            fps=20,
            chunk_size_threshold=0.5,
            aggregate_fn_name="latest_only",
        )
    )


# a robot whose camera has another name is told so before it moves
wrong = client_of("top")
refused = not wrong.start()
wrong.stop()

client = client_of("front")
started = client.start()
dtypes = set()
unpickle = robot_client.pickle.loads


def watched(data):
    chunk = unpickle(data)
    dtypes.update(str(timed.get_action().dtype) for timed in chunk)
    return chunk


robot_client.pickle.loads = watched
receiver = threading.Thread(target=client.receive_actions, daemon=True)
receiver.start()
driver = threading.Thread(target=client.control_loop, args=("pick up the bowl",), daemon=True)
driver.start()
deadline = time.monotonic() + 120
while len(client.robot.actions) < ACTIONS and time.monotonic() < deadline:
    time.sleep(0.05)
client.stop()
actions = list(enumerate(client.robot.actions))
print("RESULT", json.dumps({"started": started, "refused": refused, "actions": actions, "dtype": ",".join(sorted(dtypes))}))
