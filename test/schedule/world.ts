/**
 * A robot, its camera and its policy in virtual time. The actions tell where they come from: the executed action that a row is
 * meant for, the episode, the instruction and the time of its observation are values of the action itself. Averages of equal
 * tags are equal, so what is sent can be checked without trusting the scheduler's own accounts.
 */

import { type ActionSpace, wrapped } from '../../lib/schedule/actionSpace.ts';
import type { LimitOptions } from '../../lib/schedule/limits.ts';
import type { SentAction, TimedObservation } from '../../lib/schedule/loopEvents.ts';
import type { SimulatedCall } from '../../lib/schedule/simulatedPolicy.ts';
import type { Random } from '../../lib/support/random.ts';

export const space: ActionSpace = {
  name: 'tagged',
  dimensions: [
    { name: 'meantFor', kind: 'position', unit: '1' },
    { name: 'episode', kind: 'position', unit: '1' },
    { name: 'task', kind: 'position', unit: '1' },
    { name: 'seenAt', kind: 'position', unit: '1' },
    { name: 'count', kind: 'delta', unit: '1', state: { index: 0, scale: 1 } },
    { name: 'joint', kind: 'position', unit: 'rad', range: [-1, 1], state: { index: 1, scale: 1 } },
    { name: 'slide', kind: 'delta', unit: 'm', range: [-0.2, 0.2], state: { index: 2, scale: 1 } },
    { name: 'path', kind: 'delta', unit: 'm', state: { index: 5, scale: 1 } },
    { name: 'angle', kind: 'angle', unit: 'rad' },
    { name: 'grip', kind: 'binaryGripper', unit: '1', range: [0, 1] },
  ],
};

const index = Object.fromEntries(space.dimensions.map(({ name }, i) => [name, i])) as Record<string, number>;
export const dimensions = space.dimensions.map(({ name }) => name);

/** Places in the state beyond those of the space. */
const stateOf = { count: 0, joint: 1, slide: 2, seenAt: 3, episode: 4, path: 5 };

/** A chunk's path leads this far from 0 in a row, at most. */
const steepest = 0.01;

export interface WorldOptions {
  readonly maxAge: number;
  /** Seconds a tick. */
  readonly period: number;
  readonly limits: LimitOptions;
  /** Rows C. */
  readonly chunk: number;
  /** Share of chunks with a value that is not finite, or beyond all limits. */
  readonly wild: number;
  /** Rows leave without mixing: binary grippers may have any value. */
  readonly verbatim: boolean;
  /** Deltas are re-anchored. */
  readonly anchors: boolean;
}

/** Sums of some hundred tags of size 1e4 in float64. */
const rounding = 1e-6;

export class World {
  readonly problems: string[] = [];
  readonly #options: WorldOptions;
  readonly #random: Random;
  /** Actions of the policy that have left. */
  count = 0;
  episode = 0;
  task = 0;
  held = 0;
  newest: TimedObservation | null = null;
  /** `count` that the last call was told, rolled forward or not. */
  toldCount = 0;
  #joint = 0;
  #jointStep = 0;
  #slide = 0;
  #slideStep = 0;
  #path = 0;
  #last: Float64Array | null = null;

  constructor(options: WorldOptions, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  get instruction(): string {
    return `task ${this.task}`;
  }

  /** What the sensors read at `at`. */
  observe(at: number): TimedObservation {
    const state = [this.count, this.#joint, this.#slide, at, this.episode, this.#path];
    return { at, observation: { images: {}, state } };
  }

  /** The policy's rows. */
  readonly rows = ({ observation, instruction, random }: SimulatedCall): Float64Array => {
    const { chunk, wild } = this.#options;
    const state = observation.state!;
    this.toldCount = state[stateOf.count]!;
    const width = dimensions.length;
    const out = new Float64Array(chunk * width);
    let joint = state[stateOf.joint]!;
    const goal = random.between(-1.3, 1.3);
    const slide = random.between(-0.3, 0.3);
    const grip = random.next();
    const angle = random.between(-0.3, 0.3);
    const slope = random.between(0.5, 1) * steepest;
    for (let r = 0; r < chunk; r++) {
      joint += 0.2 * (goal - joint);
      const row: Record<string, number> = {
        meantFor: this.toldCount + r,
        episode: state[stateOf.episode]!,
        task: Number(instruction.slice('task '.length)),
        seenAt: state[stateOf.seenAt]!,
        count: 1,
        joint,
        slide,
        // back to 0 first: rows that are dropped are missed by deltas that are not re-anchored
        path: r === 0 ? slope - state[stateOf.path]! : slope,
        angle: wrapped(Math.PI + angle, 2 * Math.PI),
        grip,
      };
      dimensions.forEach((name, d) => {
        out[r * width + d] = row[name]!;
      });
    }
    if (random.chance(wild)) {
      const r = random.integer(0, chunk - 1) * width;
      const name = random.pick(['joint', 'slide', 'meantFor', 'angle']);
      const notFinite = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
      if (name === 'joint' || name === 'slide') {
        out[r + index[name]!] = random.pick([...notFinite, 1e308, -1e12]);
      } else out[r + index[name]!] = random.pick(notFinite);
    }
    return out;
  };

  reset(): void {
    this.episode++;
    this.#last = null;
    this.#jointStep = 0;
    this.#slideStep = 0;
    // somebody moves the robot
    this.#joint = this.#random.between(-1, 1);
    this.#slide = this.#random.between(-0.4, 0.4);
  }

  /** The robot's end of the wire: every sentence of the invariant. */
  readonly act = ({ values, held, at, observedAt, newestObservedAt }: SentAction): void => {
    const value = (name: string): number => values[index[name]!]!;
    if (!values.every(Number.isFinite)) this.#report(`not finite: ${values.join(' ')}`);
    if (held !== null) {
      this.held++;
      this.#checkHold(values);
      this.#jointStep = 0;
      this.#slideStep = 0;
      return;
    }
    const { maxAge, verbatim, anchors, chunk } = this.#options;
    if (Math.abs(value('meantFor') - this.count) > rounding) {
      this.#report(`executed action ${this.count} got a row meant for ${value('meantFor')}`);
    }
    if (Math.abs(value('count') - 1) > rounding)
      this.#report(`re-anchored delta is ${value('count')}, not 1`);
    if (Math.abs(value('episode') - this.episode) > rounding) {
      this.#report(`episode ${this.episode} got an action of ${value('episode')}`);
    }
    if (Math.abs(value('task') - this.task) > rounding)
      this.#report(`task ${this.task} got an action of ${value('task')}`);
    if (at - value('seenAt') > maxAge + rounding)
      this.#report(`observed ${at - value('seenAt')} ms ago, allowed ${maxAge}`);
    if (observedAt === null || newestObservedAt === null) this.#report('an action without an observation');
    else if (value('seenAt') < observedAt - rounding || value('seenAt') > newestObservedAt + rounding) {
      this.#report(`said to be observed in ${observedAt}..${newestObservedAt}, was at ${value('seenAt')}`);
    }
    if (Math.abs(wrapped(value('angle') - Math.PI, 2 * Math.PI)) > 0.3 + rounding) {
      this.#report(`angles near pi were averaged to ${value('angle')}`);
    }
    const grip = value('grip');
    if (verbatim ? grip < 0 || grip > 1 : grip !== 0 && grip !== 1) this.#report(`gripper ${grip}`);
    this.#path += value('path');
    if (anchors && (this.#path < -rounding || this.#path > steepest * chunk + rounding)) {
      this.#report(`path at ${this.#path}, no chunk leads beyond ${steepest * chunk}`);
    }
    this.#checkMotion(value('joint'), value('slide'));
    this.#last = values;
    this.count++;
  };

  #checkHold(values: Float64Array): void {
    if (this.#last === null) {
      this.#report('held before anything was executed in this episode');
      return;
    }
    space.dimensions.forEach(({ kind, name }, d) => {
      const still = kind === 'delta' ? 0 : this.#last![d]!;
      if (values[d] !== still) this.#report(`held ${name} at ${values[d]}, not ${still}`);
    });
  }

  /** Range and workspace exactly; steps within rounding of sums. */
  #checkMotion(joint: number, slide: number): void {
    const { limits, period } = this.#options;
    const step = joint - this.#joint;
    if (joint < -1 || joint > 1) this.#report(`joint at ${joint}`);
    this.#checkLimit('joint step', Math.abs(step), limits.maxStep?.joint);
    this.#checkLimit('joint velocity', Math.abs(step) / period, limits.maxVelocity?.joint);
    const acceleration = Math.abs(step - this.#jointStep) / period ** 2;
    this.#checkLimit('joint acceleration', acceleration, limits.maxAcceleration?.joint);
    this.#joint = joint;
    this.#jointStep = step;
    if (Math.abs(slide) > 0.2) this.#report(`slide moved by ${slide}`);
    this.#checkLimit(
      'slide acceleration',
      Math.abs(slide - this.#slideStep) / period ** 2,
      limits.maxAcceleration?.slide,
    );
    this.#slide += slide;
    this.#slideStep = slide;
    const box = limits.workspace?.slide;
    if (box !== undefined && (this.#slide < box[0] - rounding || this.#slide > box[1] + rounding)) {
      this.#report(`slide at ${this.#slide}, outside ${box.join('..')}`);
    }
  }

  #checkLimit(what: string, value: number, limit: number | undefined): void {
    if (limit !== undefined && value > limit * (1 + rounding) + rounding)
      this.#report(`${what} ${value}, allowed ${limit}`);
  }

  #report(problem: string): void {
    if (this.problems.length < 5) this.problems.push(problem);
  }
}
