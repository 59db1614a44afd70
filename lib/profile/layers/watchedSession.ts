/** A session under its runtime's profiler, whatever the runtime. */

import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SemanticVlaError } from '../../errors.ts';
import { OnnxSession, type OnnxSessionOptions } from '../../runtime/onnxRuntime.ts';
import type { InstructionInput, InstructionState, PolicyInput, PolicyOutput } from '../../runtime/session.ts';
import type { GraphName } from './blocks.ts';
import { alignRuns, type GraphRun, type RunWindow } from './layerRuns.ts';
import { parseOrtTrace } from './ortTrace.ts';

/** `window`: when the inference thread was at it. */
export interface WatchedAnswer<T> {
  readonly value: T;
  readonly window: RunWindow;
}

export interface WatchedSession {
  encode(input: InstructionInput, signal?: AbortSignal): Promise<WatchedAnswer<InstructionState>>;
  run(
    input: PolicyInput,
    state: InstructionState,
    signal?: AbortSignal,
  ): Promise<WatchedAnswer<PolicyOutput['actions']>>;
  /** What the profiler saw of every call so far, in order; once, after the last call. Empty of a session without profiler. */
  finish(): Promise<Readonly<Record<GraphName, readonly GraphRun[]>>>;
  close(): Promise<void>;
}

/** Beyond it the text of a trace is not one string any more, and hundreds of runs say no more than dozens. */
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
  return {
    encode: async (input, signal) => {
      const state = await session.encodeInstruction(input, signal);
      const window = { at: state.at, ms: state.computeMs };
      windows.instruction.push(window);
      return { value: state, window };
    },
    run: async (input, state, signal) => {
      const { outputs, ms, at } = await session.runRaw(input, state, signal);
      windows.policy.push({ at, ms });
      return { value: outputs.actions!.data as Float32Array, window: { at, ms } };
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
    close: async () => {
      await session.close();
      await remove();
    },
  };
}

/** The one file of a graph; ONNX Runtime puts a date into its name. */
async function readTrace(folder: string, graph: GraphName): Promise<string> {
  const file = (await readdir(folder)).find((name) => name.startsWith(graph) && name.endsWith('.json'));
  if (file === undefined) {
    throw new SemanticVlaError(
      'PROFILE_INVALID',
      `ONNX Runtime: expected a profile of the ${graph} graph in the temporary folder, found none. Check that it can be written.`,
    );
  }
  const path = join(folder, file);
  const { size } = await stat(path);
  if (size > largestTrace) {
    throw new SemanticVlaError(
      'PROFILE_INVALID',
      `ONNX Runtime: expected a profile of the ${graph} graph of at most ${largestTrace} bytes, found ${size}. ` +
        'Run it again with fewer --iterations.',
    );
  }
  return readFile(path, 'utf8');
}

/** A full profiler drops events silently; half a profile would be read as a fast policy. */
function requireAll(runs: GraphRun[], windows: readonly RunWindow[], graph: GraphName): GraphRun[] {
  const missing = runs.findIndex(({ layers }) => layers.length === 0);
  if (runs.length === windows.length && missing < 0) return runs;
  throw new SemanticVlaError(
    'PROFILE_INVALID',
    `ONNX Runtime: expected the nodes of ${windows.length} runs of the ${graph} graph, found ${runs.length} runs` +
      `${missing < 0 ? '' : `, run ${missing} without nodes`}. Run it again with fewer --iterations.`,
  );
}
