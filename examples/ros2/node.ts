/**
 * A checkpoint as a ROS 2 node; semanticvla.launch.py starts it. docs/ros2.md lists the parameters.
 *
 *   node --import tsx examples/ros2/node.ts CHECKPOINT --ros-args --params-file examples/ros2/libero.yaml
 */

import { loadRclnodejs, startRosNode, superviseEngine } from 'semanticvla';
import { usage } from '../usage.ts';

const checkpoint = process.argv[2];
if (!checkpoint) usage('ros2/node.ts CHECKPOINT --ros-args --params-file examples/ros2/libero.yaml');
const ros = await loadRclnodejs();
await ros.init();
await using policy = await superviseEngine({ engine: { checkpoint }, deadlineMs: 10_000 });
await using node = startRosNode({ policy, ros });
policy.listen((event) => event.kind === 'lost' && node.scheduler.reset());
await new Promise((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve);
});
await node.stop();
ros.shutdown();
