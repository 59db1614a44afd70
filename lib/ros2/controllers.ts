/**
 * Which ros2_control controllers the node commands: each takes some dimensions of the action as positions of joints, as
 * plain numbers, or as a velocity of the tool. docs/ros2.md lists the parameters.
 */

import type { ActionDimension, ActionSpace } from '../schedule/actionSpace.ts';
import { invalidParameter, type ParameterReader, requiredParameter } from './parameterReader.ts';

/**
 * - `joint_trajectory`: positions for a joint_trajectory_controller
 * - `forward_command`: the same numbers for a forward_command_controller or position_controllers' group controllers
 * - `twist`: changes of pose as a velocity, for MoveIt Servo or another Cartesian controller
 */
export const controllerTypes = ['joint_trajectory', 'forward_command', 'twist'] as const;

export interface Controller {
  readonly name: string;
  readonly type: (typeof controllerTypes)[number];
  readonly topic: string;
  /** Places of its dimensions in the action. */
  readonly indices: readonly number[];
  /** Of `joint_trajectory`: one name a dimension. */
  readonly joints: readonly string[];
  /** Sent is value * scale + offset; of a twist value * scale * rate, in m/s and rad/s. */
  readonly scale: readonly number[];
  readonly offset: readonly number[];
  /** Of `twist`: the frame in which the changes are given. */
  readonly frameId: string;
}

/** Where a controller of this type listens, below its own name. */
const topics: Readonly<Record<Controller['type'], string>> = {
  joint_trajectory: 'joint_trajectory',
  forward_command: 'commands',
  twist: 'delta_twist_cmds',
};

/**
 * The parameter `controllers` and those of each controller. Each dimension of the action goes to one controller, or is
 * named in `unused_dimensions`.
 * @throws OPTION_REQUIRED, OPTION_INVALID with the parameter's name
 */
export function readControllers(read: ParameterReader, space: ActionSpace): readonly Controller[] {
  const names = read.list('controllers', []);
  const unused = read.list('unused_dimensions', []);
  const every = space.dimensions.map(({ name }) => name);
  const taken = new Map<string, string>();
  const take = (dimension: string, parameter: string): void => {
    const other = taken.get(dimension);
    if (!every.includes(dimension))
      throw invalidParameter(parameter, `some of ${every.join(', ')}`, dimension);
    if (other !== undefined) throw invalidParameter(parameter, `nothing that ${other} has`, dimension);
    taken.set(dimension, parameter);
  };
  for (const dimension of unused) take(dimension, 'unused_dimensions');
  const double = names.find((name, i) => names.indexOf(name) !== i);
  if (double !== undefined) throw invalidParameter('controllers', 'each name once', double);
  const controllers = names.map((name) => {
    const controller = readController(read, name, space);
    for (const index of controller.indices) take(every[index]!, `${name}.dimensions`);
    return controller;
  });
  const left = every.filter((dimension) => !taken.has(dimension));
  if (names.length > 0 && left.length > 0) {
    const where = `a controller or unused_dimensions for ${left.join(', ')}`;
    throw requiredParameter(`${names.at(-1)}.dimensions`, where);
  }
  return controllers;
}

function readController(read: ParameterReader, name: string, space: ActionSpace): Controller {
  const of = (field: string): string => `${name}.${field}`;
  const type = read.choice(of('type'), '', controllerTypes);
  const topic = read.text(of('topic'), `/${name}/${topics[type]}`);
  const names = read.list(of('dimensions'), []);
  if (names.length === 0) throw requiredParameter(of('dimensions'), 'dimensions of the action, in its order');
  const indices = names.map((dimension) => space.dimensions.findIndex((one) => one.name === dimension));
  const unknown = indices.indexOf(-1);
  if (unknown >= 0) {
    const known = space.dimensions.map((one) => one.name).join(', ');
    throw invalidParameter(of('dimensions'), `some of ${known}`, names[unknown]);
  }
  const dimensions = indices.map((index) => space.dimensions[index]!);
  checkKinds(of('dimensions'), type, dimensions);
  const perDimension = <T>(field: string, values: readonly T[]): readonly T[] => {
    if (values.length === names.length) return values;
    throw invalidParameter(of(field), `one for each of ${names.join(', ')}`, values);
  };
  const joints = perDimension('joints', type === 'joint_trajectory' ? read.list(of('joints'), names) : names);
  const given = read.numbers(of('scale'), []);
  const scale = perDimension('scale', given.length > 0 ? given : presetScale(of('scale'), type, dimensions));
  const zero = scale.indexOf(0);
  if (zero >= 0) throw invalidParameter(of('scale'), 'numbers other than 0', 0);
  const none = names.map(() => 0);
  const offset = perDimension('offset', type === 'twist' ? none : read.numbers(of('offset'), none));
  const frameId = type === 'twist' ? read.text(of('frame_id'), '') : '';
  if (type === 'twist' && frameId === '') {
    throw requiredParameter(of('frame_id'), "the frame of the changes of pose, e.g. the robot's base");
  }
  return { name, type, topic, indices, joints, scale, offset, frameId };
}

/** 1, except for changes of pose in a unit of their own, whose size nothing but the robot's controller knows. */
function presetScale(
  name: string,
  type: Controller['type'],
  dimensions: readonly ActionDimension[],
): readonly number[] {
  const unitless = dimensions.find(({ unit }) => unit !== 'm' && unit !== 'rad');
  if (type === 'twist' && unitless !== undefined) {
    throw requiredParameter(name, `metres or radians that 1 of ${unitless.name} stands for, one a dimension`);
  }
  return dimensions.map(() => 1);
}

/** A change is not a place, and a place is not a change: neither may reach the controller of the other. */
function checkKinds(name: string, type: Controller['type'], dimensions: readonly ActionDimension[]): void {
  const wanted = type === 'twist';
  const wrong = dimensions.find(({ kind }) => (kind === 'delta') !== wanted);
  if (wrong !== undefined) {
    const what = wanted ? 'changes of pose' : 'positions, angles or grippers';
    const hint = wanted
      ? ' Give it to a controller of positions.'
      : ' A controller of positions would take a change for a place: send it as a twist.';
    throw invalidParameter(name, `${what} for ${type}`, `${wrong.name}, of kind ${wrong.kind}`, hint);
  }
  if (wanted && dimensions.length !== 3 && dimensions.length !== 6) {
    const found = dimensions.map((one) => one.name).join(', ');
    throw invalidParameter(name, 'three dimensions (x, y, z) or six (and the rotation)', found);
  }
}
