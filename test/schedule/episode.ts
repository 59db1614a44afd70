/**
 * One random episode of a scheduler in virtual time: random rate, chunk, ages, limits, latency, losses, a camera that
 * jitters and drops out, stalls of the process, resets and changes of instruction. All from one seed.
 */

import { asynchronous } from '../../lib/schedule/asynchronous.ts';
import { startControlLoop } from '../../lib/schedule/controlLoop.ts';
import { futureState } from '../../lib/schedule/futureState.ts';
import type { Latency } from '../../lib/schedule/latency.ts';
import type { LimitOptions } from '../../lib/schedule/limits.ts';
import { openLoop } from '../../lib/schedule/openLoop.ts';
import { type BlendRule, blendRules, overlapBlend } from '../../lib/schedule/overlapBlend.ts';
import type { ActionScheduler, ScheduleEvent, ScheduleOptions } from '../../lib/schedule/scheduler.ts';
import { simulatedPolicy } from '../../lib/schedule/simulatedPolicy.ts';
import { temporalEnsemble } from '../../lib/schedule/temporalEnsemble.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import { Random } from '../../lib/support/random.ts';
import type { Policy } from '../../lib/types.ts';
import { dimensions, space, World } from './world.ts';

type Make = (policy: Policy, random: Random, chunk: number, common: ScheduleOptions) => ActionScheduler;

const blends = blendRules.map((rule: BlendRule): [string, Make] => [
  `overlapBlend ${rule}`,
  (policy, random, _, common) =>
    overlapBlend(policy, { ...common, rule, threshold: random.next(), frozen: random.integer(0, 2) }),
]);

/** Every mode, with random parameters. */
export const makers: Readonly<Record<string, Make>> = {
  openLoop: (policy, random, chunk, common) =>
    openLoop(policy, random.chance(0.5) ? common : { ...common, executeHorizon: random.integer(1, chunk) }),
  asynchronous: (policy, random, _, common) => asynchronous(policy, { ...common, threshold: random.next() }),
  ...Object.fromEntries(blends),
  temporalEnsemble: (policy, random, _, common) =>
    temporalEnsemble(policy, { ...common, m: random.pick([0.01, 0.1, 0, -0.05]) }),
  futureState: (policy, random, _, common) =>
    futureState(policy, { ...common, ahead: random.integer(0, 5), threshold: random.next() }),
};

export interface EpisodeReport {
  readonly problems: readonly string[];
  readonly ticks: number;
  readonly executed: number;
  readonly held: number;
  readonly droppedRows: number;
  readonly superseded: number;
  readonly abandoned: number;
  readonly limited: number;
}

/**
 * Longest latency, ms. When the calm begins, the policy may still be busy with a call that was given up, and then with one
 * whose observation is too old when it answers.
 */
const longest = 600;
/** Milliseconds of benign conditions at the end of every episode, in which something must be executed. */
const calm = 2 * longest + 300;

/** `wrap`: stands between scheduler and loop, to break things on purpose. */
export async function runEpisode(
  mode: string,
  seed: number,
  wrap: (scheduler: ActionScheduler) => ActionScheduler = (scheduler) => scheduler,
): Promise<EpisodeReport> {
  const random = new Random(seed * 2654435761);
  const clock = new VirtualClock(random.between(-1e6, 1e6));
  const start = clock.now();
  const rate = random.between(10, 60);
  const ticks = random.integer(30, 70);
  const stormy = start + (ticks * 1000) / rate;
  const end = stormy + calm;
  const isCalm = (): boolean => clock.now() >= stormy;
  const chunk = random.integer(1, 16);
  const maxAge = random.between(150, 1000);
  const limits = randomLimits(random);
  const wild = random.pick([0, 0, 0.1]);
  const verbatim = mode === 'openLoop';
  const anchors = mode.startsWith('overlapBlend') || mode === 'temporalEnsemble';
  const world = new World({ maxAge, period: 1 / rate, limits, chunk, wild, verbatim, anchors }, random);
  const medianLatency = random.between(1, 250);
  const sigma = random.between(0, 1);
  const latency: Latency = {
    name: 'episode',
    draw: (r) => (isCalm() ? 20 : Math.min(longest, medianLatency * Math.exp(sigma * r.normal()))),
  };
  const isLossy = random.chance(0.3);
  const sound = simulatedPolicy({
    dimensions,
    chunk,
    latency,
    rows: world.rows,
    clock,
    seed,
    failing: random.pick([0, 0.1]),
  });
  const policy = isLossy ? losing(sound, random, isCalm) : sound;
  const onEvent = (event: ScheduleEvent): void => {
    if (event.type !== 'chunk' && event.type !== 'late') return;
    const executed = Math.min(chunk, Math.max(0, world.count - Math.round(world.toldCount)));
    if (event.dropped !== executed)
      world.problems.push(`dropped ${event.dropped} rows of ${executed} executed`);
  };
  const scheduler = wrap(makers[mode]!(policy, random, chunk, { space, clock, onEvent }));
  world.newest = world.observe(clock.now());
  const camera = random.chance(0.5) ? null : random.between(10, 60);
  if (camera !== null) runCamera(world, clock, random, camera, isCalm);
  const loop = startControlLoop({
    scheduler,
    rate,
    maxAge,
    instruction: world.instruction,
    observe: () => (camera === null ? world.observe(clock.now()) : world.newest),
    act: (action) => {
      world.act(action);
      if (!isCalm() && random.chance(0.01)) clock.stall(random.between(0, 200));
    },
    limits,
    clock,
  });
  scheduleChanges(world, clock, random, loop, start, stormy);
  await clock.runUntil(stormy);
  const before = loop.counters.executed;
  await clock.runUntil(end);
  // if every tenth chunk has a value that is not finite, a short calm may pass without an action
  if (wild === 0 && loop.counters.executed === before) {
    world.problems.push(`nothing executed in ${calm} calm ms: ${JSON.stringify(loop.counters.held)}`);
  }
  const { counters } = loop;
  const held = Object.values(counters.held).reduce((sum, n) => sum + n, 0);
  if (counters.executed !== world.count)
    world.problems.push(`counted ${counters.executed}, sent ${world.count}`);
  if (held !== world.held + counters.silent) world.problems.push(`counted ${held} holds, sent ${world.held}`);
  if (counters.executed + held !== counters.ticks)
    world.problems.push('ticks that neither executed nor held');
  for (const reason of ['stale', 'otherEpoch', 'notFinite'] as const) {
    if (counters.held[reason] > 0)
      world.problems.push(`the scheduler proposed ${counters.held[reason]} actions: ${reason}`);
  }
  if (counters.held.outOfRange > 0)
    world.problems.push(`the limits let ${counters.held.outOfRange} actions out of range through`);
  if (counters.held.readingImpossible > 0)
    world.problems.push(`${counters.held.readingImpossible} readings of a sound robot were refused`);
  // with braking in time there is a way out at every tick
  if (counters.held.infeasible > 0) world.problems.push(`${counters.held.infeasible} actions without a way`);
  await loop.stop().catch((error: unknown) => world.problems.push(String(error)));
  await scheduler.close();
  return {
    problems: world.problems,
    ticks: counters.ticks,
    executed: counters.executed,
    held,
    droppedRows: scheduler.counters.droppedRows,
    superseded: scheduler.counters.superseded,
    abandoned: scheduler.counters.abandoned,
    limited: counters.limited,
  };
}

/** A tenth of the questions never arrives. */
function losing(policy: Policy, random: Random, isCalm: () => boolean): Policy {
  return {
    platform: policy.platform,
    dimensions: policy.dimensions,
    variant: policy.variant,
    imageSize: policy.imageSize,
    patchGrid: policy.patchGrid,
    notices: policy.notices,
    predict: (observation, options) => {
      if (isCalm() || !random.chance(0.1)) return policy.predict(observation, options);
      return new Promise((_, reject) => {
        options.signal?.addEventListener('abort', () => reject(options.signal!.reason), { once: true });
      });
    },
    stages: (observation, options) => policy.stages(observation, options),
    close: () => policy.close(),
    [Symbol.asyncDispose]: () => policy.close(),
  };
}

/** Takes a picture every now and then; it is delivered later, in order or not. */
function runCamera(
  world: World,
  clock: VirtualClock,
  random: Random,
  period: number,
  isCalm: () => boolean,
): void {
  const take = (): void => {
    const seen = world.observe(clock.now());
    const delay = isCalm() ? 1 : random.between(0, 2 * period);
    clock.at(clock.now() + delay, () => {
      if (world.newest === null || seen.at > world.newest.at) world.newest = seen;
    });
    const pause = isCalm()
      ? period
      : random.chance(0.03)
        ? random.between(100, 900)
        : period * random.between(0.7, 1.5);
    clock.at(clock.now() + pause, take);
  };
  take();
}

function scheduleChanges(
  world: World,
  clock: VirtualClock,
  random: Random,
  loop: ReturnType<typeof startControlLoop>,
  start: number,
  stormy: number,
): void {
  for (let n = random.integer(0, 3); n > 0; n--) {
    clock.at(random.between(start, stormy), () => {
      // what the camera showed before is another episode, and stays the newest picture for a while
      if (random.chance(0.3)) world.newest = world.observe(clock.now());
      world.reset();
      loop.reset();
    });
  }
  for (let n = random.integer(0, 3); n > 0; n--) {
    clock.at(random.between(start, stormy), () => {
      world.task = random.integer(0, 3);
      loop.setInstruction(world.instruction);
    });
  }
}

function randomLimits(random: Random): LimitOptions {
  const maybe = <T>(make: () => T): T | undefined => (random.chance(0.5) ? make() : undefined);
  const acceleration = maybe(() => random.between(1, 50));
  const step = maybe(() => random.between(0.02, 0.5));
  const velocity = maybe(() => random.between(0.2, 5));
  const slide = maybe(() => random.between(1, 100));
  const workspace = maybe(() => [-0.5, 0.5] as const);
  return {
    maxStep: step === undefined ? {} : { joint: step },
    maxVelocity: velocity === undefined ? {} : { joint: velocity },
    maxAcceleration: {
      ...(acceleration === undefined ? {} : { joint: acceleration }),
      ...(slide === undefined ? {} : { slide }),
    },
    workspace: workspace === undefined ? {} : { slide: workspace },
  };
}
