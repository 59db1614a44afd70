/**
 * The CPU runtime: both graphs on ONNX Runtime, in float32 or with linear layers in 8 bits, on a thread of the session's own.
 *
 * Weights are read where the checkpoint left them. `folded` reads them into memory and widens them to float32 at load (twice
 * the bf16 bytes, fastest); afterwards the files may change. `mapped` leaves them in the page cache and widens each as it
 * is used (a full-size policy on a small machine); the open files are compared before and after each request, since mapped
 * bytes change with their file.
 */

import type {
  NamedTensors,
  NativeInitializer,
  OnnxRuntimeOptions,
  Reply,
  Request,
  TensorData,
} from '../addon/onnxMessages.ts';
import { type FileStates, statesOf, WatchedFiles } from '../checkpoint/fileStates.ts';
import { names, towerNames } from '../graph/names.ts';
import { encodeModel, externalFiles, type OnnxModel, onnxType } from '../graph/onnxModel.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { OnnxThread } from './onnxThread.ts';
import { RequestQueue } from './requestQueue.ts';
import type { InstructionInput, InstructionState, PolicyInput, PolicyOutput, Session } from './session.ts';

export interface OnnxSessionOptions extends OnnxRuntimeOptions {
  readonly instruction: OnnxModel;
  readonly policy: OnnxModel;
  /** The files of their weights as they must be; default: as they are now. */
  readonly files?: FileStates;
  readonly signal?: AbortSignal;
}

/** An instruction encoded in the inference thread's memory. */
export class OnnxInstructionState implements InstructionState {
  readonly promptLength: number;
  readonly computeMs: number;
  /** When the inference thread began with it, milliseconds of process.hrtime. */
  readonly at: number;
  /** Number of the state in the thread's memory. */
  readonly id: number;
  /** Intermediates of the instruction graph; empty unless it was built with `stages`. */
  readonly stages: NamedTensors;
  #release: (() => void) | null;

  constructor(
    fields: Pick<OnnxInstructionState, 'promptLength' | 'computeMs' | 'at' | 'id' | 'stages'>,
    release: () => void,
  ) {
    this.promptLength = fields.promptLength;
    this.computeMs = fields.computeMs;
    this.at = fields.at;
    this.id = fields.id;
    this.stages = fields.stages;
    this.#release = release;
  }

  release(): void {
    this.#release?.();
    this.#release = null;
  }
}

/** Outputs by name, for the `stages` command, which reads more of them than a prediction does. */
export interface RawOutputs {
  readonly outputs: NamedTensors;
  readonly ms: number;
  /** When the inference thread began, milliseconds of process.hrtime. */
  readonly at: number;
}

export class OnnxSession implements Session {
  readonly backend = 'cpu';
  readonly #thread: OnnxThread;
  readonly #policy: OnnxModel;
  readonly #queue: RequestQueue;
  /** Files that are mapped. */
  #watched: WatchedFiles | null = null;
  #nextState = 0;
  #closing: Promise<void> | null = null;

  private constructor(thread: OnnxThread, policy: OnnxModel) {
    this.#thread = thread;
    this.#policy = policy;
    this.#queue = new RequestQueue((request) => thread.start(request));
  }

  /** Loads both models. @throws (rejects) RUNTIME_FAILED, CHECKPOINT_CHANGED while it was loaded, the signal's reason */
  static async open(options: OnnxSessionOptions): Promise<OnnxSession> {
    options.signal?.throwIfAborted();
    const { instruction, policy, weights } = options;
    const packedBytes = quantizedBytes(instruction) + quantizedBytes(policy);
    const used = [...externalFiles(instruction), ...externalFiles(policy)];
    const now = await statesOf(used);
    const watched = WatchedFiles.open(
      new Map([...now].map(([file, state]) => [file, options.files?.get(file) ?? state])),
    );
    let session: OnnxSession | null = null;
    try {
      session = new OnnxSession(new OnnxThread(), policy);
      session.#watched = watched;
      await session.#ask(
        {
          kind: 'load',
          instruction: encodeModel(instruction, rootRelative),
          policy: encodeModel(policy, rootRelative),
          instructionWeights: weights === 'folded' ? initializersOf(instruction) : [],
          policyWeights: weights === 'folded' ? initializersOf(policy) : [],
          options: {
            threads: options.threads,
            ...(options.spinUs === undefined ? {} : { spinUs: options.spinUs }),
            weights,
            packedBytes,
            ...(options.profileFolder === undefined ? {} : { profileFolder: options.profileFolder }),
          },
        },
        options.signal,
      );
      watched.check();
      if (weights === 'folded' && packedBytes === 0) {
        session.#watched = null;
        watched.close();
      }
    } catch (error) {
      // an aborted load is answered at once and ends by itself a little later
      if (session === null) watched.close();
      else void session.close();
      throw error;
    }
    return session;
  }

  async encodeInstruction(input: InstructionInput, signal?: AbortSignal): Promise<OnnxInstructionState> {
    const state = this.#nextState++;
    const inputs: Record<string, TensorData> = { [names.promptIds]: int64(input.promptIds) };
    if (input.siglipIds !== null) inputs[names.siglipIds] = int64(input.siglipIds);
    const release = () => {
      if (this.#closing !== null) return;
      this.#queue.send({ kind: 'release', state }).catch(() => {
        // the runtime has ended and the state with it
      });
    };
    try {
      const { outputs, ms, at } = await this.#ask({ kind: 'encode', state, inputs }, signal);
      const promptLength = input.promptIds.length - 1;
      return new OnnxInstructionState(
        { promptLength, computeMs: ms, at, id: state, stages: outputs },
        release,
      );
    } catch (error) {
      // an aborted caller never gets the state; the thread may still make it
      release();
      throw error;
    }
  }

  async run(input: PolicyInput, instruction: InstructionState, signal?: AbortSignal): Promise<PolicyOutput> {
    const { outputs, ms } = await this.runRaw(input, instruction, signal);
    const sampled = towerNames.toReversed().find((tower) => names.keptPatches(tower) in outputs);
    return {
      actions: outputs[names.actions]!.data as Float32Array,
      keptPatches: sampled === undefined ? null : toInt32(outputs[names.keptPatches(sampled)]!),
      similarity: sampled === undefined ? null : (outputs[names.similarity(sampled)]!.data as Float32Array),
      timings: { policy: ms },
    };
  }

  /** Every output of the policy graph. */
  async runRaw(input: PolicyInput, instruction: InstructionState, signal?: AbortSignal): Promise<RawOutputs> {
    const shape = this.#policy.inputs.find(({ name }) => name === names.images)!.shape as number[];
    const inputs: Record<string, TensorData> = {
      [names.images]: { type: 'uint8', data: input.images, dims: shape },
    };
    if (input.proprio !== null) {
      inputs[names.proprio] = { type: 'float32', data: input.proprio, dims: [1, input.proprio.length] };
    }
    if (!(instruction instanceof OnnxInstructionState)) {
      throw new TypeError('the instruction was encoded by another session');
    }
    return this.#ask({ kind: 'run', state: instruction.id, inputs }, signal);
  }

  /** Completes the profiles in `profileFolder`; of sessions that were opened with one, once. */
  async endProfiling(): Promise<void> {
    await this.#ask({ kind: 'endProfiling' });
  }

  /** Finishes what runs; rejects what waits with code CLOSED. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#queue.rejectWaiting(closedError());
      await this.#queue.send({ kind: 'close' }).catch(() => {
        // the thread has ended: nothing is left to close
      });
      this.#thread.end();
      this.#watched?.close();
    })();
    return this.#closing;
  }

  async #ask(request: Request, signal?: AbortSignal): Promise<Reply> {
    if (this.#closing !== null) throw closedError();
    const watched = request.kind === 'encode' || request.kind === 'run' ? this.#watched : null;
    watched?.check();
    const reply = await this.#queue.send(request, signal);
    // what was computed meanwhile may mix both
    if (this.#closing === null) watched?.check();
    return reply;
  }
}

function closedError(): SemanticVlaError {
  return new SemanticVlaError('CLOSED', 'This policy was closed. Load it again with loadPolicy.');
}

/** External data are named relative to the folder "/" (see onnxThread.ts). */
function rootRelative(file: string): string {
  return file.replace(/^\/+/, '');
}

function quantizedBytes({ quantized }: OnnxModel): number {
  return quantized.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
}

/** The weights of a model that are stored in files; not the quantized ones, which the runtime packs out of the file itself. */
function initializersOf({ initializers }: OnnxModel): NativeInitializer[] {
  return initializers.flatMap(({ name, type, dims, source }) => {
    if (!('view' in source) || type === 'int8') return [];
    const { file, offset, byteLength } = source.view;
    return [{ name, type: onnxType[type], dims, file, offset, byteLength }];
  });
}

function int64(values: readonly number[]): TensorData {
  return { type: 'int64', data: BigInt64Array.from(values, BigInt), dims: [values.length] };
}

/** Patch indices fit easily in 32 bits. */
export function toInt32(tensor: TensorData): Int32Array {
  return Int32Array.from(tensor.data as BigInt64Array, Number);
}
