/** A session under its runtime's profiler, whatever the runtime. */

import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { names } from '../../graph/names.ts';
import { OnnxSession, type OnnxSessionOptions, toInt32 } from '../../runtime/onnxRuntime.ts';
import type { Session } from '../../runtime/session.ts';
import type { TensorRtSession, TensorRtSessionOptions } from '../../runtime/tensorRt.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import { monotonicMs } from '../../support/monotonicMs.ts';
import { onnxRuntimeVersion } from '../measure/subjectFacts.ts';
import type { GraphName } from './blocks.ts';
import {
  alignRuns,
  type GraphRun,
  type InspectedPlan,
  parseInspector,
  parseOrtTrace,
  type RunWindow,
} from './layerRuns.ts';

/** A session that notes when the inference thread worked on each call. Closing it twice is closing it once. */
export interface WatchedSession
  extends Pick<Session, 'encodeInstruction' | 'run' | 'stageFrames' | 'close'>,
    AsyncDisposable {
  /** Library and version. */
  readonly runtime: string;
  /** Of every call so far, in order. */
  readonly windows: Readonly<Record<GraphName, readonly RunWindow[]>>;
  /** What the profiler saw of every call so far, in order; once, after the last call. Empty of a session without profiler. */
  finish(): Promise<Readonly<Record<GraphName, readonly GraphRun[]>>>;
  /** What TensorRT's inspector says of each plan; null of a runtime that has none. */
  layerInfo(): Promise<Readonly<Record<GraphName, object>> | null>;
}

/** A larger trace does not fit into one string, and hundreds of runs say no more than dozens. */
const largestTrace = 256 * 2 ** 20;

/**
 * ONNX Runtime, with its profiler or without.
 * @throws (rejects) those of OnnxSession.open
 */
export async function watchCpu(options: OnnxSessionOptions, profiled: boolean): Promise<WatchedSession> {
  const folder = profiled ? await mkdtemp(join(tmpdir(), 'semanticvla-profile-')) : null;
  const remove = async (): Promise<void> => {
    if (folder !== null) await rm(folder, { recursive: true, force: true });
  };
  let session: OnnxSession;
  try {
    session = await OnnxSession.open({ ...options, ...(folder === null ? {} : { profileFolder: folder }) });
  } catch (error) {
    await remove();
    throw error;
  }
  const windows: Record<GraphName, RunWindow[]> = { instruction: [], policy: [] };
  const close = async (): Promise<void> => {
    await session.close();
    await remove();
  };
  return {
    runtime: `ONNX Runtime ${onnxRuntimeVersion()}`,
    windows,
    encodeInstruction: async (input, signal) => {
      const state = await session.encodeInstruction(input, signal);
      windows.instruction.push({ at: state.at, ms: state.computeMs });
      return state;
    },
    run: async (input, state, signal) => {
      const { outputs, ms, at } = await session.runRaw(input, state, signal);
      windows.policy.push({ at, ms });
      const actions = outputs[names.actions]!.data as Float32Array;
      const ids = outputs[names.tokenIds];
      const tokens = ids === undefined ? {} : { tokens: toInt32(ids) };
      return { actions, ...tokens, keptPatches: null, similarity: null, timings: {} };
    },
    finish: async () => {
      if (folder === null) return { instruction: [], policy: [] };
      await session.endProfiling();
      const read = async (graph: GraphName): Promise<GraphRun[]> => {
        const runs = parseOrtTrace(await readTrace(folder, graph), `profile of the ${graph} graph`);
        return alignRuns(requireAll(runs, windows[graph], graph), windows[graph]);
      };
      const result = { instruction: await read('instruction'), policy: await read('policy') };
      await remove();
      return result;
    },
    layerInfo: () => Promise.resolve(null),
    close,
    [Symbol.asyncDispose]: close,
  };
}

type OnLayers = NonNullable<TensorRtSessionOptions['onLayers']>;

/**
 * TensorRT, with its profiler or without. The profiler reports how long each layer took, not when it began; it waits for
 * the device after each run and allows no CUDA graph, so such a run is slower than the one that a robot makes.
 * @param open opens a session that passes its layers to the callback
 */
export async function watchTensorRt(
  open: (onLayers?: OnLayers) => Promise<TensorRtSession>,
  profiled: boolean,
): Promise<WatchedSession> {
  const runs: Record<GraphName, GraphRun[]> = { instruction: [], policy: [] };
  let plans: Readonly<Record<GraphName, InspectedPlan>> | null = null;
  // other runs, such as the check against the CPU runtime when the session opens, are not counted
  let at: number | null = null;
  const onLayers: OnLayers = (graph, { names, ms }, whole) => {
    if (at === null || plans === null) return;
    const known = plans[graph].layers;
    const layers = names.map((name, i) => ({
      ...{ name, kind: '', metadata: '', startMs: null, ms: ms[i]! },
      ...known.get(name),
    }));
    runs[graph].push({ at, ms: whole, layers });
  };
  const session = await open(profiled ? onLayers : undefined);
  try {
    if (profiled) plans = await inspect(session);
  } catch (error) {
    await session.close();
    throw error;
  }
  const windows: Record<GraphName, RunWindow[]> = { instruction: [], policy: [] };
  const during = async <T>(graph: GraphName, body: () => Promise<T>): Promise<T> => {
    const start = monotonicMs();
    at = start;
    try {
      const value = await body();
      windows[graph].push({ at: start, ms: monotonicMs() - start });
      return value;
    } finally {
      at = null;
    }
  };
  return {
    runtime: session.label,
    windows,
    encodeInstruction: (input, signal) =>
      during('instruction', () => session.encodeInstruction(input, signal)),
    run: (input, state, signal) => during('policy', () => session.run(input, state, signal)),
    stageFrames: (input) => {
      const staged = session.stageFrames(input);
      if (staged === null) return null;
      return {
        copyMs: staged.copyMs,
        run: (state, signal) => during('policy', () => staged.run(state, signal)),
        drop: () => staged.drop(),
      };
    },
    finish: () => Promise.resolve(runs),
    layerInfo: () =>
      Promise.resolve(
        plans === null ? null : { instruction: plans.instruction.info, policy: plans.policy.info },
      ),
    close: () => session.close(),
    [Symbol.asyncDispose]: () => session.close(),
  };
}

async function inspect(session: TensorRtSession): Promise<Readonly<Record<GraphName, InspectedPlan>>> {
  const { instruction, policy } = await session.layerInfo();
  return {
    instruction: parseInspector(instruction, 'plan of the instruction graph'),
    policy: parseInspector(policy, 'plan of the policy graph'),
  };
}

const broken = (graph: GraphName, expected: string, found: string, next: string): SemanticVlaError =>
  new SemanticVlaError(
    'PROFILE_INVALID',
    `ONNX Runtime: expected ${expected} of the ${graph} graph, found ${found}. ${next}`,
  );
const fewer = 'Run it again with fewer --iterations.';

/** The one file of a graph; ONNX Runtime puts a date into its name. */
async function readTrace(folder: string, graph: GraphName): Promise<string> {
  const file = (await readdir(folder)).find((name) => name.startsWith(graph) && name.endsWith('.json'));
  if (file === undefined)
    throw broken(graph, 'a profile in the temporary folder', 'none', 'Check that it can be written.');
  const path = join(folder, file);
  const { size } = await stat(path);
  if (size > largestTrace)
    throw broken(graph, `a profile of at most ${largestTrace} bytes`, String(size), fewer);
  return readFile(path, 'utf8');
}

/** A full profiler drops events silently; half a profile would look like a fast policy. */
function requireAll(runs: GraphRun[], windows: readonly RunWindow[], graph: GraphName): GraphRun[] {
  const missing = runs.findIndex(({ layers }) => layers.length === 0);
  if (runs.length === windows.length && missing < 0) return runs;
  const empty = missing < 0 ? '' : `, run ${missing} without nodes`;
  throw broken(graph, `the nodes of ${windows.length} runs`, `${runs.length} runs${empty}`, fewer);
}
