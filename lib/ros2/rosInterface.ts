/** The part of rclnodejs (2.x) that the node uses, as types: the package is an optional peer, and tests provide a fake. */

/** What the node uses of rclnodejs. */
export interface RosModule {
  /** Starts ROS 2 in this process. */
  init(context?: undefined, argv?: string[]): Promise<void>;
  /** Ends it. */
  shutdown(): void;
  /** Takes away rclnodejs's own handler of SIGINT, which shuts ROS down at once. */
  removeSignalHandlers(): void;
  readonly Node: new (name: string, namespace?: string) => RosNode;
  readonly Parameter: new (name: string, type: number, value?: unknown) => RosParameter;
  readonly ParameterType: Readonly<
    Record<
      'PARAMETER_STRING' | 'PARAMETER_DOUBLE' | 'PARAMETER_STRING_ARRAY' | 'PARAMETER_DOUBLE_ARRAY',
      number
    >
  >;
  readonly QoS: {
    new (history: number, depth: number, reliability: number, durability: number): unknown;
    readonly HistoryPolicy: Readonly<Record<'RMW_QOS_POLICY_HISTORY_KEEP_LAST', number>>;
    readonly ReliabilityPolicy: Readonly<
      Record<'RMW_QOS_POLICY_RELIABILITY_RELIABLE' | 'RMW_QOS_POLICY_RELIABILITY_BEST_EFFORT', number>
    >;
    readonly DurabilityPolicy: Readonly<Record<'RMW_QOS_POLICY_DURABILITY_VOLATILE', number>>;
  };
}

export interface RosParameter {
  readonly name: string;
  readonly value: unknown;
}

export interface RosNode {
  declareParameter(parameter: RosParameter): RosParameter;
  createSubscription(
    type: string,
    topic: string,
    options: { readonly qos: unknown },
    callback: (message: never) => void,
  ): unknown;
  createPublisher(type: string, topic: string, options: { readonly qos: unknown }): RosPublisher;
  getLogger(): {
    info(text: string): unknown;
    warn(text: string): unknown;
    error(text: string): unknown;
  };
  /** ROS's time: the wall clock, or a simulator's where `use_sim_time` says so. */
  now(): { toMsg(): RosTime };
  spin(timeout?: number): void;
  destroy(): void;
}

export interface RosPublisher {
  publish(message: unknown): void;
}

/** builtin_interfaces/msg/Time and /Duration */
export interface RosTime {
  readonly sec: number;
  readonly nanosec: number;
}

export interface RosHeader {
  readonly stamp: RosTime;
  readonly frame_id: string;
}

/** sensor_msgs/msg/Image */
export interface RosImage {
  readonly header: RosHeader;
  readonly height: number;
  readonly width: number;
  readonly encoding: string;
  readonly is_bigendian: number;
  /** Bytes from one row to the next. */
  readonly step: number;
  readonly data: Uint8Array;
}

/** sensor_msgs/msg/CompressedImage */
export interface RosCompressedImage {
  readonly header: RosHeader;
  readonly format: string;
  readonly data: Uint8Array;
}

/** sensor_msgs/msg/JointState */
export interface RosJointState {
  readonly header: RosHeader;
  readonly name: readonly string[];
  readonly position: ArrayLike<number>;
}

/** std_msgs/msg/Float64MultiArray */
export interface RosNumbers {
  readonly layout?: { readonly dim: readonly never[]; readonly data_offset: number };
  readonly data: ArrayLike<number>;
}

/** trajectory_msgs/msg/JointTrajectory */
export interface RosTrajectory {
  readonly header: RosHeader;
  readonly joint_names: readonly string[];
  readonly points: readonly {
    readonly positions: readonly number[];
    readonly velocities: readonly number[];
    readonly accelerations: readonly number[];
    readonly effort: readonly number[];
    readonly time_from_start: RosTime;
  }[];
}

interface RosVector {
  readonly x: number;
  readonly y: number;
  readonly z: number;
}

/** geometry_msgs/msg/TwistStamped */
export interface RosTwist {
  readonly header: RosHeader;
  /** m/s and rad/s */
  readonly twist: { readonly linear: RosVector; readonly angular: RosVector };
}
