/**
 * Every mode on the same plant with the same latencies, in virtual time: what each costs in smoothness, staleness, idle
 * ticks and reaction time. The plant is as simple as can be; it ranks modes for a latency, and predicts no success rate.
 */

import { asynchronous } from '../../lib/schedule/asynchronous.ts';
import { startControlLoop } from '../../lib/schedule/controlLoop.ts';
import { futureState } from '../../lib/schedule/futureState.ts';
import type { Latency } from '../../lib/schedule/latency.ts';
import { openLoop } from '../../lib/schedule/openLoop.ts';
import { overlapBlend } from '../../lib/schedule/overlapBlend.ts';
import type { ActionScheduler, ScheduleOptions } from '../../lib/schedule/scheduler.ts';
import { simulatedPolicy } from '../../lib/schedule/simulatedPolicy.ts';
import { temporalEnsemble } from '../../lib/schedule/temporalEnsemble.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import { checkOptions, expected } from '../../lib/support/options.ts';
import { Random } from '../../lib/support/random.ts';
import type { Policy } from '../../lib/types.ts';
import { type Figures, measure, type Sample } from './figures.ts';
import { Plant, plantSpace } from './plant.ts';

/** Latency, rate and chunk length to compare the modes for. */
export interface CompareModesOptions {
  readonly latency: Latency;
  /** Ticks per second. */
  readonly rate: number;
  /** Rows C of a chunk. */
  readonly chunk: number;
  /** ms; default: a chunk's length and the latency that 99 of 100 draws stay under. */
  readonly maxAge?: number;
  /** Share of calls that are never answered; default 0. */
  readonly lost?: number;
  /** Virtual seconds of each mode; default 120. */
  readonly seconds?: number;
  /** Default 1. */
  readonly seed?: number;
}

export interface ModeResult {
  readonly name: string;
  readonly figures: Figures;
  readonly samples: readonly Sample[];
}

export interface SweepPoint {
  /** Rows executed before the next chunk is to take over. */
  readonly horizon: number;
  readonly figures: Figures;
}

/** The modes' episodes and figures. */
export interface Comparison {
  readonly latency: string;
  /** ms, of 10,000 draws. */
  readonly latencies: Float64Array;
  readonly rate: number;
  readonly chunk: number;
  readonly maxAge: number;
  readonly lost: number;
  readonly seconds: number;
  readonly seed: number;
  /** What the same policy could do with no latency, asked at every tick. */
  readonly ideal: Figures;
  readonly modes: readonly ModeResult[];
  readonly sweeps: Readonly<Record<'openLoop' | 'asynchronous', readonly SweepPoint[]>>;
}

const optionNames = [
  'latency',
  'rate',
  'chunk',
  'maxAge',
  'lost',
  'seconds',
  'seed',
] as const satisfies readonly (keyof CompareModesOptions)[];

type Make = (policy: Policy, common: ScheduleOptions) => ActionScheduler;
type Settings = Required<Omit<CompareModesOptions, 'latency'>> & { readonly latency: Latency };

/**
 * Simulates every scheduling mode on the same plant with the same latencies.
 *
 * @throws OPTION_INVALID, OPTION_UNKNOWN
 */
export async function compareModes(options: CompareModesOptions): Promise<Comparison> {
  checkOptions(options, optionNames, 'compareModes');
  const { latency, rate, chunk, lost = 0, seconds = 120, seed = 1 } = options;
  if (!(rate > 0 && rate <= 1000))
    throw expected('OPTION_INVALID', 'ticks per second in 0..1000', 'rate', rate);
  if (!(Number.isSafeInteger(chunk) && chunk >= 2 && chunk <= 1000)) {
    throw expected('OPTION_INVALID', 'a whole number in 2..1000', 'chunk', chunk);
  }
  if (!(lost >= 0 && lost < 1)) throw expected('OPTION_INVALID', 'a share in 0..1', 'lost', lost);
  if (!(seconds >= 10 && seconds <= 3600))
    throw expected('OPTION_INVALID', 'seconds in 10..3600', 'seconds', seconds);
  const random = new Random(seed);
  const latencies = Float64Array.from({ length: 10_000 }, () => latency.draw(random)).sort();
  const median = latencies[5000]!;
  const maxAge = options.maxAge ?? Math.ceil((1000 * chunk) / rate + latencies[9900]!);
  if (!(maxAge > 0)) throw expected('OPTION_INVALID', 'milliseconds > 0', 'maxAge', maxAge);
  const settings: Settings = { latency, rate, chunk, maxAge, lost, seconds, seed };
  const ahead = Math.max(1, Math.ceil((median * rate) / 1000));
  const makers: Readonly<Record<string, Make>> = {
    [`open loop, ${chunk} rows`]: (policy, common) => openLoop(policy, common),
    [`open loop, ${chunk >> 1} rows`]: (policy, common) =>
      openLoop(policy, { ...common, executeHorizon: chunk >> 1 }),
    asynchronous: (policy, common) => asynchronous(policy, common),
    'blend, weighted average': (policy, common) =>
      overlapBlend(policy, { ...common, rule: 'weighted_average' }),
    'blend, linear': (policy, common) => overlapBlend(policy, { ...common, rule: 'linear' }),
    'temporal ensemble': (policy, common) => temporalEnsemble(policy, common),
    [`future state, ${ahead} ahead`]: (policy, common) => futureState(policy, { ...common, ahead }),
  };
  const modes: ModeResult[] = [];
  for (const [name, make] of Object.entries(makers)) {
    const samples = await runMode(settings, make);
    modes.push({ name, samples, figures: measure(samples, rate) });
  }
  const horizons = [
    ...new Set([0.125, 0.25, 0.375, 0.5, 0.75, 1].map((share) => Math.max(1, Math.round(share * chunk)))),
  ];
  const sweep = async (make: (horizon: number) => Make): Promise<SweepPoint[]> => {
    const points: SweepPoint[] = [];
    for (const horizon of horizons) {
      points.push({ horizon, figures: measure(await runMode(settings, make(horizon)), rate) });
    }
    return points;
  };
  const still: Latency = { name: 'none', draw: () => 0 };
  const ideal = await runMode({ ...settings, latency: still, lost: 0 }, (policy, common) =>
    asynchronous(policy, { ...common, threshold: 1 }),
  );
  return {
    ...settings,
    latency: latency.name,
    latencies,
    ideal: measure(ideal, rate),
    modes,
    sweeps: {
      openLoop: await sweep(
        (executeHorizon) => (policy, common) => openLoop(policy, { ...common, executeHorizon }),
      ),
      asynchronous: await sweep(
        (horizon) => (policy, common) =>
          asynchronous(policy, { ...common, threshold: (chunk - horizon) / chunk }),
      ),
    },
  };
}

async function runMode(
  { latency, rate, chunk, maxAge, lost, seconds, seed }: Settings,
  make: Make,
): Promise<Sample[]> {
  const clock = new VirtualClock();
  const plant = new Plant(1000 / rate, chunk, new Random(seed));
  const dimensions = plantSpace.dimensions.map(({ name }) => name);
  const policy = simulatedPolicy({ dimensions, chunk, latency, lost, rows: plant.rows, seed, clock });
  const samples: Sample[] = [];
  const period = 1000 / rate;
  const scheduler = make(policy, { space: plantSpace, clock });
  const loop = startControlLoop({
    scheduler,
    rate,
    maxAge,
    instruction: 'follow the target',
    observe: () => {
      plant.advance(clock.now());
      return { observation: plant.observation(), at: clock.now() };
    },
    act: ({ values, held, at, observedAt, newestObservedAt }) => {
      plant.command(values[0]!);
      samples.push({
        at,
        command: values[0]!,
        target: plant.target,
        held: held !== null,
        oldest: observedAt === null ? null : at - observedAt,
        newest: newestObservedAt === null ? null : at - newestObservedAt,
      });
    },
    clock,
  });
  await clock.runUntil(1000 * seconds - period / 2);
  await loop.stop();
  await scheduler.close();
  return samples;
}
