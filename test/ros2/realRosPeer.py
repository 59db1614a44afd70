"""A robot on rclpy: publishes two cameras, joint states and an instruction, and prints the trajectories it gets.

Without an argument on the node's own topics, with joint states, for a policy that answers with what it saw; with `libero`
on the topics of examples/ros2/libero.yaml, with the state as numbers, for any policy; with `servo` on those of liberoServo.yaml.
Ends by itself: with code 0 after ten commands that are right, else with code 1 after sixty seconds.
"""

import json
import math
import sys
import time

import rclpy
from rclpy.qos import qos_profile_sensor_data
from geometry_msgs.msg import TwistStamped
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

SIDE = 224
INSTRUCTION = 'pick up the cup'
EXPECTED = [0.25, 0.04, 0.09, len(INSTRUCTION) / 1000, 0.0, 0.0, 1.0]
SERVO = sys.argv[1:] == ['servo']
LIBERO = SERVO or sys.argv[1:] == ['libero']
CAMERAS = (('/camera/full/image_raw', '/camera/wrist/image_raw') if LIBERO
           else ('/semanticvla/full_image', '/semanticvla/wrist_image'))


def image(first, shot, stamp):
    message = Image(height=SIDE, width=SIDE, encoding='rgb8', step=SIDE * 3)
    message.header.stamp = stamp
    message.data = bytes([first]) + bytes((i * 7 + shot + first) % 200 for i in range(SIDE * SIDE * 3 - 1))
    return message


def is_twist(message, now):
    """In the frame of the example, of this moment, and not a hold."""
    linear, angular = message.twist.linear, message.twist.angular
    values = [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]
    age = now.sec - message.header.stamp.sec
    return message.header.frame_id == 'panda_link0' and all(map(math.isfinite, values)) and any(values) and 0 <= age < 60


def is_right(positions):
    if LIBERO:
        # a hold moves by zero
        return len(positions) == 7 and all(map(math.isfinite, positions)) and any(positions[:6])
    return all(abs(a - b) < 1e-12 for a, b in zip(positions, EXPECTED))


def joint_state(stamp):
    message = JointState(name=[f'j{i}' for i in range(8, 0, -1)], position=[float(i) for i in range(7, 0, -1)] + [0.25])
    message.header.stamp = stamp
    return message


def main():
    rclpy.init()
    node = rclpy.create_node('robot')
    got, hands = [], []
    if SERVO:
        node.create_subscription(TwistStamped, '/servo_node/delta_twist_cmds', got.append, 1)
        node.create_subscription(Float64MultiArray, '/hand_controller/commands', hands.append, 1)
    else:
        node.create_subscription(JointTrajectory, '/semanticvla/trajectory', got.append, 1)
    full, wrist = (node.create_publisher(Image, topic, qos_profile_sensor_data) for topic in CAMERAS)
    joints = node.create_publisher(JointState, '/joint_states', 10)
    numbers = node.create_publisher(Float64MultiArray, '/eef_state', 10)
    instruction = node.create_publisher(String, '/semanticvla/instruction', 1)
    end = time.monotonic() + 60
    shot = 0
    right = []
    while time.monotonic() < end and len(right) < 10:
        shot += 1
        stamp = node.get_clock().now().to_msg()
        full.publish(image(40, shot, stamp))
        wrist.publish(image(90, shot, stamp))
        if LIBERO:
            numbers.publish(Float64MultiArray(data=[i / 10 for i in range(8)]))
        else:
            joints.publish(joint_state(stamp))
        instruction.publish(String(data=INSTRUCTION))
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            rclpy.spin_once(node, timeout_sec=0.02)
        if SERVO:
            right = [twist for twist in got if is_twist(twist, node.get_clock().now().to_msg())] if hands else []
        else:
            right = [trajectory for trajectory in got if is_right(trajectory.points[0].positions)]
    last = right[-1] if right and not SERVO else None
    print(json.dumps({
        'got': len(got),
        'right': len(right),
        'hand': list(hands[-1].data) if hands else [],
        'joint_names': last.joint_names if last else [],
        'time_from_start': [last.points[0].time_from_start.sec, last.points[0].time_from_start.nanosec] if last else [],
    }))
    node.destroy_node()
    rclpy.shutdown()
    sys.exit(0 if len(right) >= 10 else 1)


main()
