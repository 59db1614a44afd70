/**
 * A policy as a ROS 2 node: camera and joint topics in, a trajectory out. Needs rclnodejs, which is loaded when it is asked for.
 *
 * @module semanticvla/ros2
 */

export type { NodeParameters } from './nodeParameters.ts';
export type { RosModule } from './rosInterface.ts';
export { loadRclnodejs, type RosNodeOptions, type RosPolicyNode, startRosNode } from './rosNode.ts';
