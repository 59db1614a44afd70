/**
 * Where the time of a chunk goes, layer by layer: the runtime's profiler in a session of its own, since it slows what it
 * watches, taking turns with a session without it, so that the slow-down is known.
 */

import type { Progress } from '../../checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../checkpoint/openCheckpoint.ts';
import { openTensorRt, type TensorRtOptions } from '../../engine/openTensorRt.ts';
import { type SubjectStarts, seriesWarnings } from '../../machine/seriesWarnings.ts';
import type { MachineState } from '../../machine/types.ts';
import { watchMachine } from '../../machine/watchMachine.ts';
import { cpuSessionOptions } from '../../policy/cpuModels.ts';
import { resolveUnnormKey } from '../../policy/platform.ts';
import { checkpointOptions, gatherParts, type OpenedPolicy, partsOf } from '../../policy/policyParts.ts';
import { tensorRtOptionsOf } from '../../policy/runtimeOptions.ts';
import type { TensorRtSession } from '../../runtime/tensorRt.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import { isolated } from '../../support/isolated.ts';
import { median } from '../../support/median.ts';
import { checkOptions, checkSignal, present } from '../../support/options.ts';
import { observationFor, usualInstruction } from '../../synth/randomObservation.ts';
import { pickFrames } from '../../transforms/pickFrames.ts';
import type { Observation, Policy, PolicyOptions } from '../../types.ts';
import { EventLoopWatch } from '../trace/eventLoopWatch.ts';
import { withMachine } from '../trace/machineCounters.ts';
import type { Timeline } from '../trace/timeline.ts';
import type { ProfileReport, StageName, StageTimes } from '../types.ts';
import type { GraphName } from './blocks.ts';
import { buildTimeline } from './buildTimeline.ts';
import { type ChunkInput, type ChunkTimes, runChunk } from './chunkRun.ts';
import { foldGraph } from './foldLayers.ts';
import type { GraphRun } from './layerRuns.ts';
import { type WatchedSession, watchCpu, watchTensorRt } from './watchedSession.ts';

/** What is profiled, on which observation, and how often. */
export interface ProfileOptions {
  /** Default: noise in the cameras' order, and a joint state in the middle of its bounds. */
  readonly observation?: Observation;
  /** Default: a sentence of usual length. */
  readonly instruction?: string;
  readonly unnormKey?: string;
  /**
   * Runs that are counted, 1 to 1000. Default: 20, fewer if they would take longer than 20 s, never fewer than 3.
   */
  readonly iterations?: number;
  /** Runs before them that are not, 0 to 1000; default 3. */
  readonly warmUp?: number;
  /** For a folder: how to load it. Not for a policy that is loaded already. */
  readonly policy?: PolicyOptions;
  /** Called while it lasts; must return quickly. */
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

const optionNames = [
  ...(['observation', 'instruction', 'unnormKey', 'iterations', 'warmUp'] as const),
  ...(['policy', 'onProgress', 'signal'] as const),
] satisfies readonly (keyof ProfileOptions)[];

const usualRuns = 20;
const leastRuns = 3;
const patienceMs = 20_000;

function checkProfileOptions(options: ProfileOptions): void {
  checkOptions(options, optionNames, 'profilePolicy');
  checkSignal(options.signal);
  for (const [name, least] of [
    ['iterations', 1],
    ['warmUp', 0],
  ] as const) {
    const value = options[name] ?? least;
    if (Number.isInteger(value) && value >= least && value <= 1000) continue;
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option ${name}: expected a whole number in ${least}..1000, found ${String(value)}.`,
    );
  }
}

/** A profile with the timeline and the layer information that its exports are made of. */
export interface PolicyProfile {
  readonly report: ProfileReport;
  /** The profiled chunks on a time line, for a trace. */
  readonly timeline: Timeline;
  /** What TensorRT's inspector says of each graph; null of the CPU runtime, which has none. */
  readonly layerInfo: Readonly<Record<GraphName, object>> | null;
}

const graphs: readonly GraphName[] = ['policy', 'instruction'];

/**
 * Profiles a policy layer by layer, in turns with a session that nothing slows.
 *
 * @param source folder of a checkpoint, or a policy that `loadPolicy` made (it is not used up, and not closed)
 * @throws (rejects) OPTION_*, those of `loadPolicy`, PROFILE_INVALID, or the signal's reason
 */
export async function profilePolicy(
  source: string | Policy,
  options: ProfileOptions = {},
): Promise<PolicyProfile> {
  checkProfileOptions(options);
  const opened = await open(source, options);
  const { parts, options: policyOptions } = opened;
  const { checkpoint, platform } = parts;
  if (parts.diffusion !== null) {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${checkpoint.dir}: expected a policy whose chunk is one run of a graph, found a diffusion policy, which runs one ${parts.diffusion.inference} times: its layers are not told apart by step. Measure it with semanticvla bench.`,
    );
  }
  const unnormKey = resolveUnnormKey(checkpoint, options.unnormKey ?? policyOptions.unnormKey);
  const observation = options.observation ?? observationFor(parts, unnormKey);
  const input: ChunkInput = {
    parts,
    frames: pickFrames(observation, platform.cameras),
    state: stateOf(observation.state, platform.proprio),
    instruction: options.instruction ?? usualInstruction,
    unnormKey,
  };
  const watched = watching(opened, options);
  await using machine = await watchMachine();
  const measured = await measure(watched, input, options);
  const seen = await machine.finish(measured.plain.length + measured.profiled.length);
  return summarize(opened, measured, watched, {
    machine: seen.machine,
    warnings: [...seen.warnings, ...seriesWarnings(seen.machine, startsOf(measured, seen.machine))],
  });
}

/** When the chunks of both sessions began, on the clock of the sensors. */
function startsOf({ plain, profiled }: Measured, { series }: MachineState): SubjectStarts[] {
  const since = series?.startMonotonicMs ?? 0;
  const startsOfChunks = (name: string, chunks: readonly ChunkTimes[]): SubjectStarts => {
    const wholes = chunks.flatMap(({ slices }) => slices.filter(({ track }) => track === 'chunks'));
    return { name, startsMs: wholes.map(({ startMs }) => startMs - since) };
  };
  return [
    startsOfChunks('the runs without the profiler', plain),
    startsOfChunks('the profiled runs', profiled),
  ];
}

function stateOf(state: ArrayLike<number> | undefined, isUsed: boolean): ArrayLike<number> | null {
  if (!isUsed) return null;
  if (state !== undefined) return state;
  throw new SemanticVlaError(
    'STATE_INVALID',
    'observation.state: expected the joint state, found none. Add it, or leave the observation out for a made-up one.',
  );
}

async function open(source: string | Policy, options: ProfileOptions): Promise<OpenedPolicy> {
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  if (typeof source !== 'string') {
    const opened = partsOf(source);
    if (opened !== null && options.policy === undefined) return opened;
    throw new SemanticVlaError(
      'OPTION_INVALID',
      opened === null
        ? 'profilePolicy: expected a folder or a policy of loadPolicy, found another kind of policy. Profile the policy inside it, where it runs.'
        : 'Option policy: expected none beside a policy that is loaded already, found some.',
    );
  }
  const policyOptions = options.policy ?? {};
  const checkpoint = await openCheckpoint(source, {
    ...checkpointOptions(policyOptions),
    ...present({ onProgress, signal }),
  });
  return { parts: await gatherParts(checkpoint, policyOptions), options: policyOptions };
}

/** How a backend is watched. */
interface Watching {
  readonly open: (isProfiled: boolean) => Promise<WatchedSession>;
  /** Both sessions at once: they take turns. On a device each holds its own weights, and there is room for one. */
  readonly takesTurns: boolean;
}

function watching({ parts, options: policyOptions }: OpenedPolicy, options: ProfileOptions): Watching {
  const { cacheDir } = policyOptions;
  const hooks = present({ signal: options.signal, onProgress: options.onProgress });
  if (policyOptions.backend === 'tensorrt') {
    const open = (onLayers?: TensorRtOptions['onLayers']): Promise<TensorRtSession> =>
      openTensorRt(parts.checkpoint, parts.sizes, {
        ...tensorRtOptionsOf(policyOptions),
        threads: parts.threads,
        ...present({ cacheDir, onLayers }),
        ...hooks,
      });
    return { open: (isProfiled) => watchTensorRt(open, isProfiled), takesTurns: false };
  }
  const open = async (isProfiled: boolean) =>
    watchCpu({ ...(await cpuSessionOptions(parts, { ...policyOptions, ...hooks })), ...hooks }, isProfiled);
  return { open, takesTurns: true };
}

interface Measured {
  /** After warm-up. */
  readonly plain: readonly ChunkTimes[];
  readonly profiled: readonly ChunkTimes[];
  readonly runs: Readonly<Record<GraphName, readonly GraphRun[]>>;
  readonly eventLoop: EventLoopWatch;
  readonly runtime: string;
  readonly layerInfo: Readonly<Record<GraphName, object>> | null;
}

async function measure(watched: Watching, input: ChunkInput, options: ProfileOptions): Promise<Measured> {
  const { warmUp = 3, signal } = options;
  const times: Record<'plain' | 'profiled', ChunkTimes[]> = { plain: [], profiled: [] };
  const eventLoop = new EventLoopWatch();
  const chunksOf = (kind: keyof typeof times, session: WatchedSession) => async (chunk: number) => {
    if (kind === 'profiled' && chunk === 0) eventLoop.start();
    const result = await runChunk(session, input, chunk, signal);
    if (chunk >= 0) times[kind].push(result);
  };
  try {
    await using plain = await watched.open(false);
    if (!watched.takesTurns) {
      await rounds([chunksOf('plain', plain)], options, 'measuring without the profiler');
      await plain.close();
    }
    await using profiled = await watched.open(true);
    const beside = watched.takesTurns ? [chunksOf('plain', plain)] : [];
    await rounds([...beside, chunksOf('profiled', profiled)], options, 'profiling');
    eventLoop.stop();
    const all = await profiled.finish();
    const runs = { instruction: all.instruction.slice(warmUp), policy: all.policy.slice(warmUp) };
    const layerInfo = await profiled.layerInfo();
    return { ...times, runs, eventLoop, runtime: profiled.runtime, layerInfo };
  } finally {
    eventLoop.stop();
  }
}

/**
 * The first of a round changes, so that none has the warmer machine. Chunks of the warm-up have negative numbers.
 * @throws (rejects) the signal's reason
 */
async function rounds(
  runs: readonly ((chunk: number) => Promise<void>)[],
  options: ProfileOptions,
  step: string,
): Promise<void> {
  const { signal, warmUp = 3 } = options;
  const tell = isolated('onProgress', options.onProgress);
  const wanted = options.iterations ?? usualRuns;
  const least = options.iterations ?? leastRuns;
  let began = performance.now();
  for (let chunk = -warmUp; ; chunk++) {
    signal?.throwIfAborted();
    if (chunk === 0) began = performance.now();
    if (chunk >= wanted || (chunk >= least && performance.now() - began > patienceMs)) return;
    for (const run of chunk % 2 === 0 ? runs : runs.toReversed()) await run(chunk);
    tell({ step, done: chunk + warmUp + 1, total: warmUp + wanted, unit: 'steps' });
  }
}

function summarize(
  { parts, options }: OpenedPolicy,
  measured: Measured,
  { takesTurns }: Watching,
  { machine, warnings }: Pick<ProfileReport, 'machine' | 'warnings'>,
): PolicyProfile {
  const { checkpoint, platform, threads } = parts;
  const { backend = 'cpu' } = options;
  const { plain, profiled, runs } = measured;
  const plainMs = medianStages(plain);
  const profiledMs = medianStages(profiled);
  const folded = graphs.map((graph) =>
    foldGraph(graph, runs[graph], { plainMs: plainMs[graph]!, profiledMs: profiledMs[graph]! }),
  );
  const report: ProfileReport = {
    format: 'semanticvla-profile',
    version: 1,
    createdAt: new Date().toISOString(),
    variant: checkpoint.config.variant,
    source: checkpoint.dir,
    backend,
    runtime: measured.runtime,
    threads: backend === 'cpu' ? threads : null,
    promptTokens: plain[0]!.promptTokens,
    cameras: platform.cameras,
    iterations: profiled.length,
    takesTurns,
    graphs: folded.map(({ profile }) => profile),
    layers: folded.flatMap(({ layers }) => layers),
    stages: plainMs,
    machine,
    warnings,
  };
  const title = `${report.variant}, ${report.runtime}`;
  const chunks = buildTimeline(title, profiled, runs, measured.eventLoop, takesTurns ? plain : []);
  return { report, timeline: withMachine(chunks, machine), layerInfo: measured.layerInfo };
}

function medianStages(chunks: readonly ChunkTimes[]): StageTimes {
  // the first call on a device has no parts, so the last chunk names the stages
  const names = Object.keys(chunks.at(-1)!.stages) as StageName[];
  const medianOf = (name: StageName): number => median(chunks.flatMap(({ stages }) => stages[name] ?? []));
  return Object.fromEntries(names.map((name) => [name, medianOf(name)]));
}
