/**
 * What each number of an action means to the robot. Mixing two predictions, holding still and limiting all depend on it:
 * positions can be averaged and repeated, deltas add up, angles wrap, grippers do neither.
 */

import { SemanticVlaError } from '../support/errors.ts';
import { checkOptions, expected } from '../support/options.ts';
import type { Policy } from '../types.ts';

/**
 * - `position`: an absolute target that does not wrap; includes joints with hard stops
 * - `delta`: added to where the robot is, once per tick
 * - `angle`: an absolute target on a circle, where pi and -pi are the same place
 * - `binaryGripper`: open or closed; decided, never averaged
 * - `gripper`: an opening width; the newest prediction decides, never averaged
 */
export type ActionKind = 'position' | 'delta' | 'angle' | 'binaryGripper' | 'gripper';

/** What one number of an action means. */
export interface ActionDimension {
  /** As in `policy.dimensions`. */
  readonly name: string;
  readonly kind: ActionKind;
  /** Unit of the value: `m`, `rad`, or `1` for values without one (controller units, gripper opening). */
  readonly unit: string;
  /**
   * [low, high] that the hardware or controller accepts: a control loop never sends anything outside it. Absent: unknown. A
   * binary gripper needs it, as its two states; the range of a delta must contain 0, since HOLD moves by zero.
   */
  readonly range?: readonly [number, number];
  /** Angles: length of the circle in `unit`; default 2 pi. */
  readonly period?: number;
  /**
   * Binary grippers: half the width of the band around the middle in which the state does not flip, as a share of the range.
   * Default 0.1.
   */
  readonly hysteresis?: number;
  /** Binary grippers with several predictions for one tick: whether the newest or the majority decides. Default newest. */
  readonly decides?: 'newest' | 'majority';
  /**
   * Where `Observation.state` contains this quantity, for future-state scheduling: state += scale * delta, or state = scale *
   * position.
   */
  readonly state?: { readonly index: number; readonly scale: number };
}

/** What the numbers of an action mean, dimension by dimension. */
export interface ActionSpace {
  readonly name: string;
  readonly dimensions: readonly ActionDimension[];
}

const kinds: readonly ActionKind[] = ['position', 'delta', 'angle', 'binaryGripper', 'gripper'];

const dimensionNames = [
  'name',
  'kind',
  'unit',
  'range',
  'period',
  'hysteresis',
  'decides',
  'state',
] as const satisfies readonly (keyof ActionDimension)[];

const translation = ['x', 'y', 'z'];
const rotation = ['roll', 'pitch', 'yaw'];

/**
 * LIBERO: robosuite's OSC_POSE controller takes pose changes in its own units, -1..1, which stand for 5 cm and 0.5 rad
 * (ARISE-Initiative/robosuite, controllers/config/osc_pose.json, output_max; chosen by Lifelong-Robot-Learning/LIBERO,
 * envs/env_wrapper.py). The rotation part of its state is an axis-angle vector, in which changes do not add up, so it is not
 * rolled forward. The dataset's gripper is 0 (closed) to 1 (open).
 */
const libero: ActionSpace = {
  name: 'libero',
  dimensions: [
    ...translation.map((name, i) => delta(name, '1', [-1, 1], { index: i, scale: 0.05 })),
    ...rotation.map((name) => delta(name, '1', [-1, 1])),
    { name: 'gripper', kind: 'binaryGripper', unit: '1', range: [0, 1] },
  ],
};

/** What LIBERO's environment takes (`actions: 'env'`): the gripper is -1 (open) or 1 (closed). */
const liberoEnvironment: ActionSpace = {
  name: 'libero, as its environment takes it',
  dimensions: libero.dimensions.map((dimension) =>
    dimension.name === 'gripper' ? { ...dimension, range: [-1, 1] } : dimension,
  ),
};

/**
 * BridgeData on the WidowX: pose changes in metres and radians; the state is the pose itself; gripper 0 (closed) to 1 (open).
 */
const bridge: ActionSpace = {
  name: 'bridge',
  dimensions: [
    ...translation.map((name, i) => delta(name, 'm', undefined, { index: i, scale: 1 })),
    ...rotation.map((name, i) => delta(name, 'rad', undefined, { index: 3 + i, scale: 1 })),
    { name: 'gripper', kind: 'binaryGripper', unit: '1', range: [0, 1] },
  ],
};

/**
 * ALOHA: absolute joint targets of two ViperX 300 S arms. These are positions, not angles: every joint has hard stops (the
 * servos turn once at most), so there is no short way round the circle. Ranges in degrees, from the manufacturer's model
 * (Interbotix/interbotix_ros_manipulators, aloha_vx300s.urdf.xacro; the same in vx300s.urdf.xacro). The gripper is normalized,
 * 0 (closed) to 1 (open), with constants of each robot (MarkFzp/mobile-aloha, aloha_scripts/constants.py), and so has no range:
 * squeezing a leader's hand gives values below 0.
 */
const viperJoints: readonly (readonly [string, number, number])[] = [
  ['waist', -180, 180],
  ['shoulder', -106, 72],
  ['elbow', -101, 92],
  ['forearm_roll', -180, 180],
  ['wrist_angle', -107, 128],
  ['wrist_rotate', -180, 180],
];

const aloha: ActionSpace = {
  name: 'aloha',
  dimensions: ['left', 'right'].flatMap((side, arm): ActionDimension[] => [
    ...viperJoints.map(([joint, low, high], i): ActionDimension => {
      const range = [(low * Math.PI) / 180, (high * Math.PI) / 180] as const;
      const state = { index: 7 * arm + i, scale: 1 };
      return { name: `${side}_${joint}`, kind: 'position', unit: 'rad', range, state };
    }),
    { name: `${side}_gripper`, kind: 'gripper', unit: '1', state: { index: 7 * arm + 6, scale: 1 } },
  ]),
};

function delta(
  name: string,
  unit: string,
  range?: readonly [number, number],
  state?: { index: number; scale: number },
): ActionDimension {
  return {
    name,
    kind: 'delta',
    unit,
    ...(range === undefined ? {} : { range }),
    ...(state === undefined ? {} : { state }),
  };
}

/** The spaces known by name; the names are those of `Platform.name`. */
export const actionSpaces: Readonly<Record<Exclude<Policy['platform']['name'], 'custom'>, ActionSpace>> = {
  libero,
  aloha,
  bridge,
};

/**
 * The action space of a policy: the given one or, without one, the preset of its platform; checked against the policy's
 * dimensions.
 * @throws OPTION_REQUIRED if the platform is custom and no space is given
 * @throws OPTION_INVALID if the space is malformed or does not fit the policy
 */
export function resolveActionSpace(
  policy: {
    readonly platform: Pick<Policy['platform'], 'name' | 'actions'>;
    readonly dimensions: readonly string[];
  },
  given?: ActionSpace,
): ActionSpace {
  const { name, actions } = policy.platform;
  if (given === undefined && name === 'custom') {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `Action space of a policy on a custom platform: expected the option space, since nothing says what ${policy.dimensions.join(', ')} ` +
        `mean, found none. Pass { name, dimensions: [{ name, kind, unit }] }; kinds are ${kinds.join(', ')}.`,
    );
  }
  // the other environments' ranges are their datasets'
  const isLiberoEnvironment = name === 'libero' && actions === 'env';
  const known = isLiberoEnvironment ? liberoEnvironment : actionSpaces[name as keyof typeof actionSpaces];
  const space = given ?? known;
  checkActionSpace(space);
  const names = space.dimensions.map((dimension) => dimension.name);
  if (names.length !== policy.dimensions.length || names.some((dim, i) => dim !== policy.dimensions[i])) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Action space ${space.name}: expected the policy's dimensions ${policy.dimensions.join(', ')}, found ${names.join(', ')}. ` +
        'Describe each dimension of the policy, in its order.',
    );
  }
  return space;
}

/** @throws OPTION_INVALID naming the dimension and the value */
export function checkActionSpace(space: ActionSpace): void {
  checkOptions(space, ['name', 'dimensions'], 'space');
  if (!Array.isArray(space.dimensions) || space.dimensions.length === 0) {
    throw expected(
      'OPTION_INVALID',
      'a list of dimensions',
      `dimensions of space ${space.name}`,
      space.dimensions,
    );
  }
  for (const dimension of space.dimensions) checkDimension(dimension);
}

function checkDimension(dimension: ActionDimension): void {
  checkOptions(dimension, dimensionNames, `action dimension ${dimension.name}`);
  const { name, kind, range, period, hysteresis, decides, state } = dimension;
  const refuse = (what: string, field: string, value: unknown): never => {
    throw expected('OPTION_INVALID', what, `${field} of action dimension ${name}`, value);
  };
  if (typeof name !== 'string' || name === '') refuse('a name', 'name', name);
  if (!kinds.includes(kind)) refuse(`one of ${kinds.join(', ')}`, 'kind', kind);
  if (typeof dimension.unit !== 'string') refuse('a unit', 'unit', dimension.unit);
  if (range !== undefined || kind === 'binaryGripper') {
    const isRange =
      Array.isArray(range) &&
      range.length === 2 &&
      range.every(Number.isFinite) &&
      range[0] < range[1] &&
      Number.isFinite(range[1] - range[0]);
    if (!isRange) refuse('[low, high] with low < high', 'range', range);
    if (kind === 'delta' && !(range![0] <= 0 && range![1] >= 0))
      refuse('a range with 0 in it, since HOLD moves by zero,', 'range', range);
  }
  if (period !== undefined && !(kind === 'angle' && Number.isFinite(period) && period > 0)) {
    refuse('a positive number, on an angle', 'period', period);
  }
  if (hysteresis !== undefined && !(kind === 'binaryGripper' && hysteresis >= 0 && hysteresis < 0.5)) {
    refuse('a share in 0..0.5, on a binary gripper', 'hysteresis', hysteresis);
  }
  if (decides !== undefined && !(kind === 'binaryGripper' && ['newest', 'majority'].includes(decides))) {
    refuse('newest or majority, on a binary gripper', 'decides', decides);
  }
  const isPlace =
    state === undefined ||
    (Number.isSafeInteger(state?.index) &&
      state.index >= 0 &&
      Number.isFinite(state.scale) &&
      state.scale !== 0);
  if (!isPlace) refuse('{ index, scale } with a scale that is not 0', 'state', state);
}

/** Length of the angle's circle. */
export function periodOf(dimension: ActionDimension): number {
  return dimension.period ?? 2 * Math.PI;
}

/** The difference of two angles the short way round, in [-period/2, period/2). */
export function wrapped(difference: number, period: number): number {
  return difference - period * Math.floor(difference / period + 0.5);
}
