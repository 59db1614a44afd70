/** The node's ROS parameters: declared, read once at start, checked. docs/ros2.md lists them. */

import { type BlendRule, blendRules } from '../schedule/overlapBlend.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { nearest } from '../support/options.ts';
import type { Policy } from '../types.ts';
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
): NodeParameters {
  const { PARAMETER_STRING, PARAMETER_DOUBLE, PARAMETER_STRING_ARRAY } = ros.ParameterType;
  const declare = (name: string, type: number, value: unknown): unknown =>
    node.declareParameter(new ros.Parameter(name, type, value)).value;
  const text = (name: string, preset: string): string => {
    const value = declare(name, PARAMETER_STRING, preset);
    if (typeof value === 'string') return value;
    throw invalid(name, 'a string', value);
  };
  const number = (name: string, preset: number): number => {
    const value = declare(name, PARAMETER_DOUBLE, preset);
    if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
    throw invalid(name, 'a number (with a decimal point) >= 0', value);
  };
  const list = (name: string, preset: readonly string[]): readonly string[] => {
    const value = declare(name, PARAMETER_STRING_ARRAY, [...preset]);
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    throw invalid(name, 'a list of strings', value);
  };
  const choice = <T extends string>(name: string, preset: T | '', choices: readonly T[]): T => {
    const value = text(name, preset);
    const chosen = choices.find((item) => item === value);
    if (chosen !== undefined) return chosen;
    if (value === '') throw required(name, choices.join(', '));
    const meant = nearest(value, choices);
    throw invalid(
      name,
      `one of ${choices.join(', ')}`,
      value,
      meant === null ? '' : ` Did you mean ${meant}?`,
    );
  };

  const { cameras, proprio } = policy.platform;
  const rate = number('rate', 0);
  const mode = choice('mode', '', scheduleModes);
  const blend = text('blend_rule', '');
  const imageTopics = list(
    'image_topics',
    cameras.map((camera) => `~/${camera}`),
  );
  const imageTransport = choice('image_transport', 'raw', imageTransports);
  const stateType = choice('state_type', 'joint_state', stateTypes);
  const stateTopic = text('state_topic', 'joint_states');
  const jointNames = list('joint_names', []);
  const actionNames = list('action_names', policy.dimensions);
  const maxAgeMs = number('max_age_ms', 500);
  const frozenMs = number('frozen_ms', 500);
  const unnormKey = text('unnorm_key', '');
  const parameters = {
    rate,
    mode,
    blendRule: mode === 'overlap_blend' ? blendRule(blend) : null,
    imageTopics,
    imageTransport,
    stateTopic,
    stateType,
    jointNames,
    instructionTopic: text('instruction_topic', '~/instruction'),
    instruction: text('instruction', ''),
    actionTopic: text('action_topic', '~/trajectory'),
    actionNames,
    unnormKey: unnormKey === '' ? null : unnormKey,
    maxAgeMs,
    frozenMs: frozenMs === 0 ? Number.POSITIVE_INFINITY : frozenMs,
  };
  if (rate === 0) throw required('rate', 'actions per second, e.g. 20.0');
  if (maxAgeMs === 0) throw invalid('max_age_ms', 'milliseconds above 0', maxAgeMs);
  if (imageTopics.length !== cameras.length) {
    throw invalid('image_topics', `one topic for each of ${cameras.join(', ')}`, imageTopics.join(', '));
  }
  if (actionNames.length !== policy.dimensions.length) {
    throw invalid(
      'action_names',
      `one name for each of ${policy.dimensions.join(', ')}`,
      actionNames.join(', '),
    );
  }
  if (proprio && stateType === 'joint_state' && jointNames.length === 0) {
    throw required('joint_names', "the robot's joints in the order of the policy's state");
  }
  return parameters;
}

function blendRule(value: string): BlendRule {
  const rule = blendRules.find((name) => name === value);
  if (rule !== undefined) return rule;
  if (value === '') throw required('blend_rule', blendRules.join(', '));
  throw invalid('blend_rule', `one of ${blendRules.join(', ')}`, value);
}

function required(name: string, choices: string): SemanticVlaError {
  return new SemanticVlaError(
    'OPTION_REQUIRED',
    `Parameter ${name}: expected a value (${choices}), found none.`,
  );
}

function invalid(name: string, wanted: string, value: unknown, hint = ''): SemanticVlaError {
  return new SemanticVlaError(
    'OPTION_INVALID',
    `Parameter ${name}: expected ${wanted}, found ${JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}` : v))}.${hint}`,
  );
}
