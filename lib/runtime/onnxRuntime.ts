/**
 * The CPU runtime: a policy's graphs on ONNX Runtime, in float32 or with linear layers in 8 bits, on a thread of the session's own.
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
import type {
  DenoisingSteps,
  InstructionInput,
  InstructionState,
  PolicyInput,
  PolicyOutput,
  Session,
} from './session.ts';

export interface OnnxSessionOptions extends OnnxRuntimeOptions {
  readonly instruction: OnnxModel;
  readonly policy: OnnxModel;
  /** Of a diffusion policy. */
  readonly denoiser?: { readonly model: OnnxModel; readonly steps: DenoisingSteps };
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
  /** Of it in the steps of a diffusion policy. */
  readonly denoisingMs?: number;
  /** When the inference thread began, milliseconds of process.hrtime. */
  readonly at: number;
}

export class OnnxSession implements Session {
  readonly backend = 'cpu';
  readonly #thread: OnnxThread;
  readonly #policy: OnnxModel;
  readonly #denoiser: OnnxSessionOptions['denoiser'];
  readonly #queue: RequestQueue;
  /** Files that are mapped. */
  #watched: WatchedFiles | null = null;
  #nextState = 0;
  #closing: Promise<void> | null = null;

  private constructor(
    thread: OnnxThread,
    { policy, denoiser }: Pick<OnnxSessionOptions, 'policy' | 'denoiser'>,
  ) {
    this.#thread = thread;
    this.#policy = policy;
    this.#denoiser = denoiser;
    this.#queue = new RequestQueue((request) => thread.start(request));
  }

  /** Loads the models. @throws (rejects) RUNTIME_FAILED, CHECKPOINT_CHANGED while it was loaded, the signal's reason */
  static async open(options: OnnxSessionOptions): Promise<OnnxSession> {
    options.signal?.throwIfAborted();
    const { instruction, policy, weights } = options;
    const denoiser = options.denoiser?.model ?? null;
    const models = [instruction, policy, denoiser].filter((model) => model !== null);
    const packedBytes = models.reduce((sum, model) => sum + quantizedBytes(model), 0);
    const used = models.flatMap(externalFiles);
    const now = await statesOf(used);
    const watched = WatchedFiles.open(
      new Map([...now].map(([file, state]) => [file, options.files?.get(file) ?? state])),
    );
    let session: OnnxSession | null = null;
    try {
      session = new OnnxSession(new OnnxThread(), options);
      session.#watched = watched;
      await session.#ask(
        {
          kind: 'load',
          instruction: encodeModel(instruction, rootRelative),
          policy: encodeModel(policy, rootRelative),
          instructionWeights: weights === 'folded' ? initializersOf(instruction) : [],
          policyWeights: weights === 'folded' ? initializersOf(policy) : [],
          denoiser: denoiser === null ? '' : encodeModel(denoiser, rootRelative),
          denoiserWeights: weights === 'folded' && denoiser !== null ? initializersOf(denoiser) : [],
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
    const release = () => this.#release(state);
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
    const { outputs, ms, denoisingMs } = await this.runRaw(input, instruction, signal);
    const sampled = towerNames.toReversed().find((tower) => names.keptPatches(tower) in outputs);
    const tokens = outputs[names.tokenIds];
    const noise = outputs[names.noise];
    return {
      actions: outputs[names.actions]!.data as Float32Array,
      ...(tokens === undefined ? {} : { tokens: toInt32(tokens) }),
      ...(noise === undefined ? {} : { noise: noise.data as Float32Array }),
      keptPatches: sampled === undefined ? null : toInt32(outputs[names.keptPatches(sampled)]!),
      similarity: sampled === undefined ? null : (outputs[names.similarity(sampled)]!.data as Float32Array),
      timings: { policy: ms, ...(denoisingMs === undefined ? {} : { denoising: denoisingMs }) },
    };
  }

  /**
   * Every output of the policy graph and of the last step of denoising.
   *
   * @param eachStep every output of each step, with the actions before it
   */
  async runRaw(
    input: PolicyInput,
    instruction: InstructionState,
    signal?: AbortSignal,
    eachStep?: (step: number, outputs: NamedTensors, before: TensorData) => void,
  ): Promise<RawOutputs> {
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
    const kept = this.#denoiser === undefined ? 0 : this.#nextState++;
    const run = this.#ask({ kind: 'run', state: instruction.id, kept, inputs }, signal);
    if (this.#denoiser === undefined) return run;
    try {
      const observed = await run;
      const steps = await this.#denoise({ state: instruction.id, kept }, input.noise, signal, eachStep);
      return {
        outputs: { ...observed.outputs, ...steps.outputs },
        ms: observed.ms + steps.ms,
        denoisingMs: steps.ms,
        at: observed.at,
      };
    } finally {
      this.#release(kept);
    }
  }

  async #denoise(
    states: { readonly state: number; readonly kept: number },
    noise: Float32Array | undefined,
    signal: AbortSignal | undefined,
    eachStep: ((step: number, outputs: NamedTensors, before: TensorData) => void) | undefined,
  ): Promise<Pick<RawOutputs, 'outputs' | 'ms'>> {
    const { model, steps } = this.#denoiser!;
    const dims = model.inputs.find(({ name }) => name === names.noisyActions)!.shape as number[];
    if (noise === undefined) throw new TypeError('a diffusion policy starts from noise');
    let actions: TensorData = { type: 'float32', data: noise, dims };
    let outputs: NamedTensors = {};
    let ms = 0;
    const row = (table: Float32Array, step: number): TensorData => {
      const width = table.length / steps.count;
      const data = table.subarray(step * width, (step + 1) * width);
      return { type: 'float32', data, dims: [1, width] };
    };
    for (let step = 0; step < steps.count; step++) {
      const inputs: Record<string, TensorData> = {
        [names.noisyActions]: actions,
        [names.timeEmbedding]: row(steps.timeEmbeddings, step),
        [names.ddimFactors]: row(steps.factors, step),
      };
      const reply = await this.#ask({ kind: 'denoise', ...states, inputs }, signal);
      ({ outputs } = reply);
      ms += reply.ms;
      eachStep?.(step, outputs, actions);
      actions = outputs[names.actions]!;
    }
    return { outputs, ms };
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

  #release(state: number): void {
    if (this.#closing !== null) return;
    this.#queue.send({ kind: 'release', state }).catch(() => {
      // the runtime has ended and the state with it
    });
  }

  async #ask(request: Request, signal?: AbortSignal): Promise<Reply> {
    if (this.#closing !== null) throw closedError();
    const computes = request.kind === 'encode' || request.kind === 'run' || request.kind === 'denoise';
    const watched = computes ? this.#watched : null;
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
