/** The ROS 2 messages of a recording, by name, as their packages define them (ros2/common_interfaces, ros2/rcl_interfaces). */

const time = ['builtin_interfaces/Time', 'int32 sec\nuint32 nanosec'] as const;
const header = ['std_msgs/Header', 'builtin_interfaces/Time stamp\nstring frame_id'] as const;
const dimension = ['std_msgs/MultiArrayDimension', 'string label\nuint32 size\nuint32 stride'] as const;
const layout = [
  'std_msgs/MultiArrayLayout',
  'std_msgs/MultiArrayDimension[] dim\nuint32 data_offset',
] as const;

function schema(own: string, ...needed: readonly (readonly [name: string, fields: string])[]): string {
  const line = '='.repeat(80);
  return [own, ...needed.map(([name, fields]) => `${line}\nMSG: ${name}\n${fields}`)].join('\n');
}

export const rosSchemas = {
  'sensor_msgs/msg/CompressedImage': schema(
    'std_msgs/Header header\nstring format\nuint8[] data',
    header,
    time,
  ),
  'sensor_msgs/msg/JointState': schema(
    'std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort',
    header,
    time,
  ),
  'std_msgs/msg/Float64MultiArray': schema(
    'std_msgs/MultiArrayLayout layout\nfloat64[] data',
    layout,
    dimension,
  ),
  'std_msgs/msg/String': schema('string data'),
  'rcl_interfaces/msg/Log': schema(
    [
      'byte DEBUG=10\nbyte INFO=20\nbyte WARN=30\nbyte ERROR=40\nbyte FATAL=50',
      'builtin_interfaces/Time stamp\nuint8 level\nstring name\nstring msg\nstring file\nstring function\nuint32 line',
    ].join('\n'),
    time,
  ),
} as const;

export type RosType = keyof typeof rosSchemas;
