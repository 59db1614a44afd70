"""Runs a launch file as `ros2 launch FILE NAME:=VALUE...` does. Ends with the launched processes, or on SIGINT."""

import sys

from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource


def main():
    file, *arguments = sys.argv[1:]
    service = LaunchService(argv=arguments, noninteractive=True)
    pairs = [tuple(argument.split(':=', 1)) for argument in arguments]
    included = IncludeLaunchDescription(PythonLaunchDescriptionSource(file), launch_arguments=pairs)
    service.include_launch_description(LaunchDescription([included]))
    return service.run()


sys.exit(main())
