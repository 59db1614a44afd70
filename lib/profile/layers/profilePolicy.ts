/**
 * Where the time of a chunk goes, layer by layer: the runtime's profiler in a session of its own, since it slows what it
 * watches, taking turns with a session without it, so that the slow-down is known.
 */

import { createRequire } from 'node:module';
import { openCheckpoint } from '../../checkpoint/openCheckpoint.ts';
import { SemanticVlaError } from '../../errors.ts';
import { resolveUnnormKey } from '../../platform.ts';
import { cpuSessionOptions, gatherParts, type OpenedPolicy, partsOf } from '../../policyParts.ts';
import { pickFrames } from '../../transforms/pickFrames.ts';
import type { Policy } from '../../types.ts';
import { type Binding, layerInfo } from '../export/trtexecProfile.ts';
import { EventLoopWatch } from '../trace/eventLoopWatch.ts';
import type { Timeline } from '../trace/timeline.ts';
import type { GraphProfile, LayerTime, ProfileReport, StageName, StageTimes } from '../types.ts';
import type { GraphName } from './blocks.ts';
import { buildTimeline } from './buildTimeline.ts';
import { type ChunkInput, type ChunkTimes, runChunk } from './chunkRun.ts';
import { foldGraph, median } from './foldLayers.ts';
import type { GraphRun } from './layerRuns.ts';
import { checkProfileOptions, expectedRounds, isEnough, type ProfileOptions } from './profileOptions.ts';
import { syntheticInstruction, syntheticObservation } from './syntheticInput.ts';
import { type WatchedSession, watchCpu } from './watchedSession.ts';

export interface PolicyProfile {
  readonly report: ProfileReport;
  /** The profiled chunks on a time line, for a trace. */
  readonly timeline: Timeline;
  /** The layers of each graph in the form of TensorRT's inspector. */
  readonly layerInfo: Readonly<Record<GraphName, object>>;
}

const graphs: readonly GraphName[] = ['policy', 'instruction'];

/**
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
  const unnormKey = resolveUnnormKey(checkpoint, options.unnormKey ?? policyOptions.unnormKey);
  const observation = options.observation ?? syntheticObservation(parts, unnormKey);
  const input: ChunkInput = {
    parts,
    frames: pickFrames(observation, platform.cameras),
    state: stateOf(observation.state, platform.proprio),
    instruction: options.instruction ?? syntheticInstruction,
    unnormKey,
  };
  const sessions = await openBoth(opened, options);
  try {
    const measured = await alternate(sessions, input, options);
    return summarize(opened, measured, sessions.bindings);
  } finally {
    await Promise.all([sessions.plain.close(), sessions.profiled.close()]);
  }
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
  const { siglipText, cacheDir } = policyOptions;
  const checkpoint = await openCheckpoint(source, {
    ...(siglipText === undefined ? {} : { siglipText }),
    ...(cacheDir === undefined ? {} : { cacheDir }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(signal === undefined ? {} : { signal }),
  });
  return { parts: await gatherParts(checkpoint, policyOptions), options: policyOptions };
}

interface Sessions {
  readonly plain: WatchedSession;
  readonly profiled: WatchedSession;
  /** Inputs and outputs of each graph. */
  readonly bindings: Readonly<Record<GraphName, readonly Binding[]>>;
}

async function openBoth({ parts, options }: OpenedPolicy, { signal }: ProfileOptions): Promise<Sessions> {
  if (options.backend === 'tensorrt') {
    throw new SemanticVlaError(
      'BACKEND_UNAVAILABLE',
      'profile of TensorRT sessions needs the native profiler.',
    );
  }
  const session = { ...cpuSessionOptions(parts, options), ...(signal === undefined ? {} : { signal }) };
  const bindings = {
    instruction: [...session.instruction.inputs, ...session.instruction.outputs],
    policy: [...session.policy.inputs, ...session.policy.outputs],
  };
  const plain = await watchCpu(session, false);
  try {
    return { plain, profiled: await watchCpu(session, true), bindings };
  } catch (error) {
    await plain.close();
    throw error;
  }
}

interface Measured {
  readonly warmUp: number;
  /** After warm-up. */
  readonly plain: readonly ChunkTimes[];
  readonly profiled: readonly ChunkTimes[];
  readonly runs: Readonly<Record<GraphName, readonly GraphRun[]>>;
  readonly eventLoop: EventLoopWatch;
}

/** Both sessions take turns, the first of a round changing, so that neither has the warmer machine. */
async function alternate(
  { plain, profiled }: Sessions,
  input: ChunkInput,
  options: ProfileOptions,
): Promise<Measured> {
  const { signal, onProgress, warmUp = 3 } = options;
  const times: { plain: ChunkTimes[]; profiled: ChunkTimes[] } = { plain: [], profiled: [] };
  const eventLoop = new EventLoopWatch();
  const total = warmUp + expectedRounds(options);
  let began = performance.now();
  try {
    for (let round = 0; ; round++) {
      signal?.throwIfAborted();
      if (round === warmUp) began = performance.now();
      if (round >= warmUp && isEnough(options, round - warmUp, performance.now() - began)) break;
      const isCounted = round >= warmUp;
      const runPlain = async (): Promise<void> => {
        const chunk = await runChunk(plain, input, round - warmUp, signal);
        if (isCounted) times.plain.push(chunk);
      };
      const runProfiled = async (): Promise<void> => {
        if (isCounted) eventLoop.start();
        const chunk = await runChunk(profiled, input, round - warmUp, signal);
        eventLoop.stop();
        if (isCounted) times.profiled.push(chunk);
      };
      const order = round % 2 === 0 ? [runPlain, runProfiled] : [runProfiled, runPlain];
      for (const run of order) await run();
      onProgress?.({ step: 'profiling', done: round + 1, total, unit: 'steps' });
    }
  } finally {
    eventLoop.stop();
  }
  const all = await profiled.finish();
  const runs = { instruction: all.instruction.slice(warmUp), policy: all.policy.slice(warmUp) };
  return { warmUp, ...times, runs, eventLoop };
}

function summarize(
  { parts, options }: OpenedPolicy,
  measured: Measured,
  bindings: Sessions['bindings'],
): PolicyProfile {
  const { checkpoint, platform, threads } = parts;
  const { plain, profiled, runs } = measured;
  const medianOf = (chunks: readonly ChunkTimes[], graph: GraphName): number =>
    median(chunks.map(({ stages }) => stages[graph]!));
  const folded = graphs.map((graph) =>
    foldGraph(graph, runs[graph], {
      plainMs: medianOf(plain, graph),
      profiledMs: medianOf(profiled, graph),
    }),
  );
  const report: ProfileReport = {
    format: 'semanticvla-profile',
    version: 1,
    createdAt: new Date().toISOString(),
    variant: checkpoint.config.variant,
    source: checkpoint.dir,
    backend: options.backend ?? 'cpu',
    runtime: `ONNX Runtime ${onnxRuntimeVersion()}`,
    threads,
    promptTokens: plain[0]!.promptTokens,
    cameras: platform.cameras,
    iterations: profiled.length,
    graphs: folded.map(({ profile }): GraphProfile => profile),
    layers: folded.flatMap(({ layers }): readonly LayerTime[] => layers),
    stages: medianStages(plain),
  };
  const title = `${report.variant}, ${report.runtime}`;
  return {
    report,
    timeline: buildTimeline(title, profiled, runs, measured.eventLoop),
    layerInfo: {
      instruction: layerInfo(runs.instruction[0]!, bindings.instruction),
      policy: layerInfo(runs.policy[0]!, bindings.policy),
    },
  };
}

function medianStages(chunks: readonly ChunkTimes[]): StageTimes {
  const names = Object.keys(chunks[0]!.stages) as StageName[];
  return Object.fromEntries(names.map((name) => [name, median(chunks.map(({ stages }) => stages[name]!))]));
}

function onnxRuntimeVersion(): string {
  return (createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string }).version;
}
