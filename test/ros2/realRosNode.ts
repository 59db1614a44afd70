/** The node on a real rclnodejs with a policy without a model; started by realRos.test.ts. Arguments: its folder, then ROS's. */

import { pathToFileURL } from 'node:url';
import type { RosModule } from '../../lib/ros2/rosInterface.ts';
import { startRosNode } from '../../lib/ros2/rosNode.ts';
import { parseLatency } from '../../lib/schedule/latency.ts';
import { simulatedPolicy } from '../../lib/schedule/simulatedPolicy.ts';

const packageFile = `${process.argv[2]}/node_modules/rclnodejs/dist/index.js`;
const { default: ros } = (await import(pathToFileURL(packageFile).href)) as { default: RosModule };
await ros.init();
const policy = simulatedPolicy({
  dimensions: ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'],
  chunk: 8,
  latency: parseLatency('constant(30)'),
  platform: {
    name: 'libero',
    cameras: ['full_image', 'wrist_image'],
    proprio: true,
    centerCrop: true,
    jpeg: true,
    chunk: 8,
    normalization: 'q99',
  },
  // sends back what came in: the first joint, the first byte of each camera, the length of the sentence
  rows: ({ observation: { state, images }, instruction }) => {
    const row = [
      state?.[0] ?? Number.NaN,
      images.full_image!.data[0]! / 1000,
      images.wrist_image!.data[0]! / 1000,
      instruction.length / 1000,
      0,
      0,
      1,
    ];
    return Float64Array.from({ length: 56 }, (_, i) => row[i % 7]!);
  },
});
const node = startRosNode({ policy, ros });
process.on('SIGTERM', () => {
  void node.stop().then(() => {
    ros.shutdown();
    console.log(JSON.stringify(node.scheduler.counters));
    process.exit(0);
  });
});
