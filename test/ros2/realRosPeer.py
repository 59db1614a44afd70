"""A robot on rclpy: publishes two cameras, joint states and an instruction, and prints the trajectories it gets.

Ends by itself: with code 0 after ten trajectories that carry what it published, else with code 1 after sixty seconds.
"""

import json
import sys
import time

import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

SIDE = 224
INSTRUCTION = 'pick up the cup'


def image(first, shot, stamp):
    message = Image(height=SIDE, width=SIDE, encoding='rgb8', step=SIDE * 3)
    message.header.stamp = stamp
    message.data = bytes([first]) + bytes((i * 7 + shot + first) % 200 for i in range(SIDE * SIDE * 3 - 1))
    return message


def main():
    rclpy.init()
    node = rclpy.create_node('robot')
    got = []
    node.create_subscription(JointTrajectory, '/semanticvla/trajectory', got.append, 1)
    cameras = {name: node.create_publisher(Image, f'/semanticvla/{name}', qos_profile_sensor_data)
               for name in ('full_image', 'wrist_image')}
    joints = node.create_publisher(JointState, '/joint_states', 10)
    instruction = node.create_publisher(String, '/semanticvla/instruction', 1)
    expected = [0.25, 0.04, 0.09, len(INSTRUCTION) / 1000, 0.0, 0.0, 1.0]
    end = time.monotonic() + 60
    shot = 0
    right = []
    while time.monotonic() < end and len(right) < 10:
        shot += 1
        stamp = node.get_clock().now().to_msg()
        cameras['full_image'].publish(image(40, shot, stamp))
        cameras['wrist_image'].publish(image(90, shot, stamp))
        state = JointState(name=[f'j{i}' for i in range(8, 0, -1)], position=[float(i) for i in range(7, 0, -1)] + [0.25])
        state.header.stamp = stamp
        joints.publish(state)
        instruction.publish(String(data=INSTRUCTION))
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            rclpy.spin_once(node, timeout_sec=0.02)
        right = [t for t in got if all(abs(a - b) < 1e-12 for a, b in zip(t.points[0].positions, expected))]
    last = right[-1] if right else None
    print(json.dumps({
        'got': len(got),
        'right': len(right),
        'joint_names': last.joint_names if last else [],
        'time_from_start': [last.points[0].time_from_start.sec, last.points[0].time_from_start.nanosec] if last else [],
    }))
    node.destroy_node()
    rclpy.shutdown()
    sys.exit(0 if len(right) >= 10 else 1)


main()
