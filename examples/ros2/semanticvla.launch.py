"""Starts the policy node: ros2 launch examples/ros2/semanticvla.launch.py checkpoint:=/path/to/checkpoint"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import LaunchConfiguration

HERE = Path(__file__).resolve().parent


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument('checkpoint', description='folder of the trained policy'),
        DeclareLaunchArgument('params', default_value=str(HERE / 'libero.yaml')),
        ExecuteProcess(
            cmd=['node', '--import', 'tsx', str(HERE / 'node.ts'), LaunchConfiguration('checkpoint'),
                 '--ros-args', '--params-file', LaunchConfiguration('params')],
            cwd=str(HERE.parent.parent),
            output='screen',
            # the node holds the robot once more before it ends
            sigterm_timeout='5',
        ),
    ])
