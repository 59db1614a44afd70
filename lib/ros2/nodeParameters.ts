/** The node's ROS parameters: declared, read once at start, checked. docs/ros2.md lists them. */

import type { ActionSpace } from '../schedule/actionSpace.ts';
import { type BlendRule, blendRules } from '../schedule/overlapBlend.ts';
import type { Policy } from '../types.ts';
import { type Controller, readControllers } from './controllers.ts';
import { invalidParameter, ParameterReader, requiredParameter } from './parameterReader.ts';
import type { RosModule, RosNode } from './rosInterface.ts';

export const scheduleModes = ['open_loop', 'asynchronous', 'overlap_blend', 'temporal_ensemble'] as const;
export type ScheduleMode = (typeof scheduleModes)[number];

const imageTransports = ['raw', 'compressed'] as const;
const stateTypes = ['joint_state', 'float64_multi_array'] as const;

/** What the node is told when it starts (docs/ros2.md). */
export interface NodeParameters {
  /** Actions per second. */
  readonly rate: number;
  readonly mode: ScheduleMode;
  /** null unless the mode is `overlap_blend`. */
  readonly blendRule: BlendRule | null;
  /** One per camera of the policy, in its order. */
  readonly imageTopics: readonly string[];
  readonly imageTransport: (typeof imageTransports)[number];
  readonly stateTopic: string;
  readonly stateType: (typeof stateTypes)[number];
  readonly jointNames: readonly string[];
  readonly instructionTopic: string;
  /** Empty: wait for the topic. */
  readonly instruction: string;
  readonly actionTopic: string;
  readonly actionNames: readonly string[];
  /** Empty: one trajectory of all dimensions on `actionTopic`. */
  readonly controllers: readonly Controller[];
  readonly unnormKey: string | null;
  readonly maxAgeMs: number;
  /** Number.POSITIVE_INFINITY: never. */
  readonly frozenMs: number;
}

/**
 * Declares every parameter on `node` and returns the values given at launch.
 * @throws OPTION_REQUIRED, OPTION_INVALID with the parameter's name
 */
export function readParameters(
  ros: RosModule,
  node: RosNode,
  policy: Pick<Policy, 'platform' | 'dimensions'>,
  space: ActionSpace,
): NodeParameters {
  const read = new ParameterReader(ros, node);
  const { cameras, proprio } = policy.platform;
  const rate = read.number('rate', 0);
  const mode = read.choice('mode', '', scheduleModes);
  const blend = read.text('blend_rule', '');
  const imageTopics = read.list(
    'image_topics',
    cameras.map((camera) => `~/${camera}`),
  );
  const imageTransport = read.choice('image_transport', 'raw', imageTransports);
  const stateType = read.choice('state_type', 'joint_state', stateTypes);
  const stateTopic = read.text('state_topic', 'joint_states');
  const jointNames = read.list('joint_names', []);
  const actionNames = read.list('action_names', policy.dimensions);
  const maxAgeMs = read.number('max_age_ms', 500);
  const frozenMs = read.number('frozen_ms', 500);
  const unnormKey = read.text('unnorm_key', '');
  const parameters = {
    rate,
    mode,
    blendRule: mode === 'overlap_blend' ? blendRule(blend) : null,
    imageTopics,
    imageTransport,
    stateTopic,
    stateType,
    jointNames,
    instructionTopic: read.text('instruction_topic', '~/instruction'),
    instruction: read.text('instruction', ''),
    actionTopic: read.text('action_topic', '~/trajectory'),
    actionNames,
    controllers: readControllers(read, space),
    unnormKey: unnormKey === '' ? null : unnormKey,
    maxAgeMs,
    frozenMs: frozenMs === 0 ? Number.POSITIVE_INFINITY : frozenMs,
  };
  if (rate === 0) throw requiredParameter('rate', 'actions per second, e.g. 20.0');
  if (maxAgeMs === 0) throw invalidParameter('max_age_ms', 'milliseconds above 0', maxAgeMs);
  if (imageTopics.length !== cameras.length) {
    throw invalidParameter(
      'image_topics',
      `one topic for each of ${cameras.join(', ')}`,
      imageTopics.join(', '),
    );
  }
  if (actionNames.length !== policy.dimensions.length) {
    throw invalidParameter(
      'action_names',
      `one name for each of ${policy.dimensions.join(', ')}`,
      actionNames.join(', '),
    );
  }
  if (proprio && stateType === 'joint_state' && jointNames.length === 0) {
    throw requiredParameter('joint_names', "the robot's joints in the order of the policy's state");
  }
  return parameters;
}

function blendRule(value: string): BlendRule {
  const rule = blendRules.find((name) => name === value);
  if (rule !== undefined) return rule;
  if (value === '') throw requiredParameter('blend_rule', blendRules.join(', '));
  throw invalidParameter('blend_rule', `one of ${blendRules.join(', ')}`, value);
}
