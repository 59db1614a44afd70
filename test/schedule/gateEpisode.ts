/**
 * A random robot with random limits, sensors that sometimes lie, and a policy that returns any finite values. At the robot's
 * end, separate code checks that everything that arrives is finite, inside range and workspace, and of this episode; with
 * sensors that never lied, also inside steps and accelerations.
 */

import type { ActionDimension, ActionKind, ActionSpace } from '../../lib/schedule/actionSpace.ts';
import { type ControlLoop, startControlLoop } from '../../lib/schedule/controlLoop.ts';
import type { LimitOptions } from '../../lib/schedule/limits.ts';
import type { LoopEvent, SentAction } from '../../lib/schedule/loopEvents.ts';
import type { ActionScheduler } from '../../lib/schedule/scheduler.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import { Random } from '../../lib/support/random.ts';
import type { Policy } from '../../lib/types.ts';
import { makers } from './episode.ts';
import { testPolicy } from './testPolicy.ts';

export interface GateReport {
  readonly problems: readonly string[];
  /** Number of actions sent, including HOLDs. */
  readonly actions: number;
  readonly executed: number;
  readonly lies: number;
  readonly impossible: number;
  /** The options do not describe a robot and were refused with a code. */
  readonly refused: boolean;
  /**
   * It has no odd scale, a range everywhere (without, 1e308 takes it to infinity) and no angle (1e17 is none, and holds until
   * its chunk is too old), and newer chunks replace older ones: nothing keeps it from moving.
   */
  readonly isPlain: boolean;
  /** It moved in the end, when everything was sound again. */
  readonly movedInTheEnd: boolean;
}

const kinds: readonly ActionKind[] = ['position', 'delta', 'angle', 'gripper', 'binaryGripper'];
const period = 20;

/** @param onEvent hears the loop */
export async function runGateEpisode(
  seed: number,
  ticks = 60,
  onEvent: (event: LoopEvent) => void = () => {},
): Promise<GateReport> {
  const random = new Random(seed * 69069 + 5);
  const space: ActionSpace = {
    name: 'drawn',
    dimensions: Array.from({ length: random.integer(1, 5) }, (_, d) => drawDimension(random, d)),
  };
  const limits = drawLimits(random, space);
  const clock = new VirtualClock(random.pick([0, 1e6, 1.7e12]));
  const robot = new Robot(space, limits, random);
  const lying = random.pick([0, 0, 0.05, 0.3]);
  const firstLies = random.chance(0.2);
  const wildness = random.pick([0.02, 0.3]);
  const calmFrom = clock.now() + ticks * period;
  const isCalm = (): boolean => clock.now() >= calmFrom;
  const counts = { actions: 0, executed: 0, lies: 0 };
  const mode = random.pick(Object.keys(makers).filter((name) => name !== 'futureState'));
  const policy = policyOf(space, () => robot.rows(random, 8, isCalm() ? 0 : wildness));
  let loop: ControlLoop;
  let scheduler: ActionScheduler;
  let resetAt = Number.NEGATIVE_INFINITY;
  let looks = 0;
  try {
    scheduler = makers[mode]!(policy, random, 8, { space, clock });
    loop = startControlLoop({
      scheduler,
      rate: 1000 / period,
      maxAge: 5000,
      instruction: 'go',
      clock,
      limits,
      onEvent,
      observe: () => {
        const lies = !isCalm() && (looks++ === 0 ? firstLies : random.chance(lying));
        if (lies) {
          counts.lies++;
          robot.hasLied = true;
        }
        const state = robot.read(random, lies);
        return { observation: { images: {}, ...(state === undefined ? {} : { state }) }, at: clock.now() };
      },
      act: (action) => {
        counts.actions++;
        if (action.held === null) counts.executed++;
        if (action.epoch !== scheduler.epoch) robot.report('of another episode');
        if (action.observedAt !== null && action.observedAt <= resetAt) robot.report('seen before the reset');
        robot.take(action);
      },
    });
  } catch (error) {
    const { code } = error as SemanticVlaError;
    if (typeof code !== 'string') throw error;
    return { problems: [], ...counts, impossible: 0, refused: true, isPlain: false, movedInTheEnd: false };
  }
  if (random.chance(0.3)) {
    clock.at(clock.now() + random.between(0, ticks * period), () => {
      robot.reset(random);
      loop.reset();
      resetAt = clock.now();
    });
  }
  await clock.runUntil(calmFrom);
  const before = counts.executed;
  await clock.runUntil(calmFrom + 12 * period);
  const isPlain =
    mode === 'asynchronous' &&
    space.dimensions.every(
      ({ kind, range, state }) =>
        kind !== 'angle' && range !== undefined && (state === undefined || Math.abs(state.scale) > 1e-6),
    );
  const movedInTheEnd = counts.executed > before;
  const impossible = loop.counters.held.readingImpossible;
  const { actions } = counts;
  await loop.stop();
  if (robot.last !== null && (counts.actions !== actions + 1 || robot.last.held === null))
    robot.report('the end is no HOLD');
  return { problems: robot.problems, ...counts, impossible, refused: false, isPlain, movedInTheEnd };
}

function drawDimension(random: Random, d: number): ActionDimension {
  const kind = random.pick(kinds);
  const size = 10 ** random.integer(-3, 3);
  const low = kind === 'delta' ? -size * random.next() : size * random.between(-3, 2.5);
  const isCircle = kind === 'angle' && random.chance(0.6);
  const turn = random.pick([2 * Math.PI, 360, 1]);
  const range: readonly [number, number] | undefined = isCircle
    ? random.pick([undefined, [-turn / 2, turn / 2], [0, turn], [-turn, turn]] as const)
    : kind !== 'binaryGripper' && random.chance(0.25)
      ? undefined
      : [low, kind === 'delta' ? size * random.next() : low + size * random.between(0.1, 3)];
  return {
    name: `${kind}${d}`,
    kind,
    unit: '1',
    ...(range === undefined ? {} : { range }),
    ...(kind === 'angle' ? { period: turn } : {}),
    ...(random.chance(0.15)
      ? {}
      : { state: { index: d, scale: random.pick([1, 1, 1, -1, 0.05, 1000, 1e-9, 1e-320, 0]) } }),
  };
}

function drawLimits(random: Random, space: ActionSpace): LimitOptions {
  const options = { maxStep: {}, maxVelocity: {}, maxAcceleration: {}, workspace: {} } as Record<
    'maxStep' | 'maxVelocity' | 'maxAcceleration' | 'workspace',
    Record<string, unknown>
  >;
  for (const { name, kind, range, state } of space.dimensions) {
    if (kind === 'binaryGripper' || state === undefined) continue;
    const size = range === undefined ? 1 : range[1] - range[0];
    const odd = random.chance(0.05) ? random.pick([1e-320, 1e-300, 1e300]) : 1;
    if (random.chance(0.4)) options.maxStep[name] = odd * size * random.between(0.01, 0.5);
    if (random.chance(0.2)) options.maxVelocity[name] = odd * size * random.between(0.5, 20);
    if (random.chance(0.3)) options.maxAcceleration[name] = odd * size * random.between(10, 500);
    if (random.chance(0.3) && kind !== 'angle') {
      const middle = kind === 'delta' || range === undefined ? 0 : (state.scale * (range[0] + range[1])) / 2;
      const half = Math.abs(state.scale) * size * random.between(0.1, 1);
      options.workspace[name] = random.pick([
        [middle - half, middle + half],
        [middle - half, middle + half],
        [middle - half, Number.POSITIVE_INFINITY],
      ]);
    }
  }
  return options as LimitOptions;
}

/** Finite, whatever it is: near, at the ends, far, huge, tiny, any bits. */
function drawValue(
  random: Random,
  wild: boolean,
  near: number,
  [low, high]: readonly [number, number],
): number {
  if (!wild) return near + (high - low) * random.between(-0.05, 0.05);
  const bits = new Uint32Array([random.next() * 2 ** 32, random.next() * 2 ** 32]);
  const any = new Float64Array(bits.buffer)[0]!;
  const value = random.pick([
    low,
    high,
    100,
    -1e17,
    1e308,
    -1e308,
    5e-324,
    1e300 * random.normal(),
    any,
    any,
  ]);
  return Number.isFinite(value) ? value : 1e308;
}

class Robot {
  readonly problems: string[] = [];
  readonly #space: ActionSpace;
  readonly #limits: LimitOptions;
  /** In state units, where the state has it; else in units of the action. */
  readonly #place: number[];
  #steps: (number | null)[];
  last: SentAction | null = null;
  #executed: Float64Array | null = null;
  hasLied = false;

  constructor(space: ActionSpace, limits: LimitOptions, random: Random) {
    this.#space = space;
    this.#limits = limits;
    this.#place = space.dimensions.map((dimension) => this.#inside(dimension, random));
    this.#steps = space.dimensions.map(() => null);
  }

  #inside({ name, kind, range, state }: ActionDimension, random: Random): number {
    const scale = state?.scale ?? 1;
    const box = this.#limits.workspace?.[name];
    const far = range?.map((end) => end * scale) ?? [-scale, scale];
    const ends = kind === 'delta' ? [-1e-3, 1e-3] : far;
    const low = Math.max(Math.min(...ends), box?.[0] ?? Number.NEGATIVE_INFINITY);
    const high = Math.min(Math.max(...ends), box?.[1] ?? Number.POSITIVE_INFINITY);
    return low <= high ? random.between(low, high) : low;
  }

  reset(random: Random): void {
    this.#space.dimensions.forEach((dimension, d) => {
      this.#place[d] = this.#inside(dimension, random);
    });
    this.#steps = this.#steps.map(() => null);
    this.#executed = null;
    this.last = null;
  }

  read(random: Random, lies: boolean): readonly number[] | undefined {
    const state = this.#space.dimensions.map((_, d) => this.#place[d]!);
    if (!lies) return state;
    const lie = random.pick([
      Number.NaN,
      Number.POSITIVE_INFINITY,
      50,
      -1e6,
      1e17,
      -1e308,
      3.4,
      0,
      undefined,
    ]);
    if (lie === undefined) return random.pick([undefined, []]);
    state[random.integer(0, state.length - 1)] = lie;
    return state;
  }

  rows(random: Random, count: number, wildness: number): number[][] {
    const at = this.#space.dimensions.map(({ kind, state }, d) =>
      kind === 'delta' ? 0 : this.#place[d]! / (state?.scale || 1),
    );
    return Array.from({ length: count }, () =>
      this.#space.dimensions.map(({ range }, d) =>
        drawValue(random, random.chance(wildness), Number.isFinite(at[d]) ? at[d]! : 0, range ?? [-1, 1]),
      ),
    );
  }

  take(action: SentAction): void {
    this.last = action;
    for (const [d, dimension] of this.#space.dimensions.entries()) this.#takeOne(dimension, d, action);
    if (action.held === null) this.#executed = action.values.slice();
  }

  #takeOne(dimension: ActionDimension, d: number, { values, held }: SentAction): void {
    const { name, kind, range, period: turn = 2 * Math.PI, state } = dimension;
    const value = values[d]!;
    const scale = state?.scale ?? 1;
    const [low, high] = this.#limits.workspace?.[name] ?? [
      Number.NEGATIVE_INFINITY,
      Number.POSITIVE_INFINITY,
    ];
    if (!Number.isFinite(value)) this.report(`${name}: ${value} left`);
    if (range !== undefined && !(value >= range[0] && value <= range[1]))
      this.report(`${name}: ${value} left, range ${range}`);
    const isCircle = kind === 'angle' && (range === undefined || range[1] - range[0] >= turn * (1 - 1e-9));
    if (isCircle && range === undefined && Math.abs(value) > turn)
      this.report(`${name}: ${value} is no angle`);
    const from = this.#place[d]!;
    if (held !== null) {
      const still = kind === 'delta' ? 0 : this.#executed?.[d];
      if (value !== still) this.report(`${name}: held at ${value}, not ${still}`);
      this.#steps[d] = 0;
      return;
    }
    const to = kind === 'delta' ? from + scale * value : scale * value;
    const slack = 1e-9 * (Math.abs(from) + Math.abs(to));
    if (kind !== 'delta' && !(to >= low - slack && to <= high + slack))
      this.report(`${name}: ${to} left, workspace ${low}..${high}`);
    if (!this.hasLied) {
      // a robot that is outside may only come back
      if (kind === 'delta' && !(to >= Math.min(low, from) - slack && to <= Math.max(high, from) + slack))
        this.report(`${name}: moves from ${from} to ${to}, workspace ${low}..${high}`);
      this.#checkMotion(dimension, d, value, isCircle ? turn : null);
    }
    this.#place[d] = to;
  }

  /** Where the first step of an episode begins: a sensor that is a little off outside reads the end itself. */
  #begin(d: number, turn: number | null): number {
    const { name, range, state } = this.#space.dimensions[d]!;
    const scale = state?.scale ?? 1;
    const place = this.#place[d]! / scale;
    if (turn !== null) return place;
    const box = (this.#limits.workspace?.[name] ?? [-Infinity, Infinity]).map((end) => end / scale);
    const low = Math.max(range?.[0] ?? -Infinity, Math.min(...box));
    const high = Math.min(range?.[1] ?? Infinity, Math.max(...box));
    return Math.min(high, Math.max(low, place));
  }

  #checkMotion({ name, kind }: ActionDimension, d: number, value: number, turn: number | null): void {
    const { maxStep, maxVelocity, maxAcceleration } = this.#limits;
    const before = this.#executed?.[d] ?? this.#begin(d, turn);
    let step = kind === 'delta' ? value : value - before;
    if (turn !== null) step -= turn * Math.round(step / turn);
    const seconds = period / 1000;
    const most = Math.min(maxStep?.[name] ?? Infinity, (maxVelocity?.[name] ?? Infinity) * seconds);
    const rounding = 1e-9 * (1 + Math.abs(step) + Math.abs(before));
    if (Math.abs(step) > most * (1 + 1e-9) + rounding) this.report(`${name}: step ${step}, allowed ${most}`);
    const change = (maxAcceleration?.[name] ?? Infinity) * seconds ** 2;
    const turned = Math.abs(step - (this.#steps[d] ?? 0));
    if (turned > change * (1 + 1e-9) + rounding)
      this.report(`${name}: step changed by ${turned}, allowed ${change}`);
    this.#steps[d] = step;
  }

  report(problem: string): void {
    if (this.problems.length < 3) this.problems.push(problem);
  }
}

function policyOf(space: ActionSpace, rows: () => number[][]): Policy {
  const dimensions = space.dimensions.map(({ name }) => name);
  return testPolicy(dimensions, async (_, { instruction }) => {
    const actions = rows();
    return {
      actions: Float64Array.from(actions.flat()),
      normalized: new Float32Array(actions.length * dimensions.length),
      shape: [actions.length, dimensions.length],
      dimensions,
      keptPatches: {},
      similarity: {},
      timings: { total: 1 },
      instruction,
      unnormKey: 'drawn',
    };
  });
}
