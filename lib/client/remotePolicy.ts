/**
 * A policy on another machine, used like a local one. While it cannot be reached, every call is refused at once, so that the
 * loop above holds within the same tick; reconnecting goes on in the background. It resumes only with the same policy: a server
 * that comes back with other metadata has other units, cameras or limits, and is refused for good.
 */

import { encodeMsgpackNumpy } from '../serve/msgpackNumpy.ts';
import type { WireMap } from '../serve/ndarray.ts';
import type { ObservationKeys } from '../serve/observationMap.ts';
import { orAborted, pause } from '../support/abort.ts';
import { checkedChunk } from '../support/checkedChunk.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import type { Notice } from '../support/notices.ts';
import { checkOptions, checkSignal, expected } from '../support/options.ts';
import type { ActionChunk, Observation, Platform, Policy, PredictOptions, StageTensor } from '../types.ts';
import { deadline } from './deadline.ts';
import type { FleetEvent } from './fleetTransport.ts';
import { type GivenFacts, type RemoteFacts, remoteFacts } from './remoteFacts.ts';
import { requestFields } from './requestFields.ts';
import { retryDelay } from './retryDelay.ts';
import type { OpenedTransport, RemoteAnswer } from './transport.ts';

/** What happens to the connection. */
export type RemoteEvent =
  /** The server cannot be reached: hold. */
  | { readonly kind: 'hold'; readonly error: SemanticVlaError }
  /** It is back with the same policy. */
  | { readonly kind: 'resume'; readonly downMs: number; readonly attempts: number }
  /** It is back with another policy; this one stays refused. */
  | { readonly kind: 'changed'; readonly error: SemanticVlaError }
  | FleetEvent;

/** Options of a remote policy; all may be left out. */
export interface RemoteOptions {
  /** Longest time from a call of `predict` to its answer, including the wait for earlier calls. Milliseconds. */
  readonly deadlineMs: number;
  /** Longest time for connecting. Default: `deadlineMs`. */
  readonly connectMs?: number;
  readonly token?: string;
  /** Keys under which the server looks for cameras, state and instruction. */
  readonly keys?: ObservationKeys;
  /** Sent with each request: the name under which the page of `serve --live` shows this robot. At most 64 characters count. */
  readonly robot?: string;
  /** For a server that does not describe its policy: the reference's, or openpi's own. */
  readonly policy?: GivenFacts;
  /** Must return quickly. What it throws or rejects with stops nothing. */
  readonly onEvent?: (event: RemoteEvent) => void;
  readonly signal?: AbortSignal;
}

const optionNames = [
  'deadlineMs',
  'connectMs',
  'token',
  'keys',
  'robot',
  'policy',
  'onEvent',
  'signal',
] as const satisfies readonly (keyof RemoteOptions)[];

export function checkRemoteOptions(options: RemoteOptions, what: string): void {
  checkOptions(options, optionNames, what);
  checkSignal(options.signal);
  for (const name of ['deadlineMs', 'connectMs'] as const) {
    const value: unknown = options[name];
    if (value === undefined && name === 'connectMs') continue;
    if (typeof value !== 'number' || !(value > 0 && value < 2 ** 31)) {
      throw expected('OPTION_INVALID', 'milliseconds above 0', name, value);
    }
  }
  const { robot } = options;
  if (robot !== undefined && (typeof robot !== 'string' || robot.trim() === ''))
    throw expected('OPTION_INVALID', 'a name', 'robot', robot);
}

/**
 * Connects to the server once and learns what it serves.
 * @throws (rejects) REMOTE_UNREACHABLE, DEADLINE_EXCEEDED, UNAUTHORIZED, REMOTE_FAILED, OPTION_REQUIRED, the signal's reason
 */
export async function openRemote(opened: OpenedTransport, options: RemoteOptions): Promise<RemotePolicy> {
  const { transport, name } = opened;
  const late = deadline(options.connectMs ?? options.deadlineMs, `the connection to ${name}`);
  const signal = options.signal === undefined ? late.signal : AbortSignal.any([late.signal, options.signal]);
  try {
    const metadata = await transport.connect(signal);
    const facts = remoteFacts(name, metadata, options.policy);
    return new RemotePolicy({ ...opened, options, facts, metadata });
  } catch (error) {
    transport.close();
    throw error;
  } finally {
    late.clear();
  }
}

interface Parts extends OpenedTransport {
  readonly options: RemoteOptions;
  readonly facts: RemoteFacts;
  readonly metadata: WireMap | null;
}

/** A policy on another machine, used like a local one. */
export class RemotePolicy implements Policy {
  readonly #parts: Parts;
  readonly #metadata: Buffer;
  readonly #closed = new AbortController();
  readonly #tell: (event: RemoteEvent) => void;
  /** Settles when the previous call has ended. */
  #turn: Promise<void> = Promise.resolve();
  /** Why calls are refused; null while the server can be reached. */
  #refusal: SemanticVlaError | null = null;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#tell = isolated('onEvent of a remote policy', parts.options.onEvent);
    this.#metadata = encodeMsgpackNumpy(parts.metadata);
    parts.transport.onLost = (error) => this.#hold(error);
  }

  get platform(): Platform {
    return this.#parts.facts.platform;
  }

  get dimensions(): readonly string[] {
    return this.#parts.facts.dimensions;
  }

  get variant(): string {
    return this.#parts.facts.variant;
  }

  /** 0 if the server does not say. */
  get imageSize(): number {
    return this.#parts.facts.imageSize;
  }

  /** 0 if the server does not say. */
  get patchGrid(): number {
    return this.#parts.facts.patchGrid;
  }

  /** Empty: the notices of the policy are in the log of the server. */
  get notices(): readonly Notice[] {
    return [];
  }

  /** The server that a call would reach, e.g. `http://gpu:8777`: of a fleet, the replica that this robot has now. */
  get url(): string {
    return this.#parts.transport.url.origin;
  }

  /** Whether a call would reach the server. */
  get reachable(): boolean {
    return this.#refusal === null && !this.#closed.signal.aborted;
  }

  /**
   * `keptPatches` and `similarity` are empty, since no protocol carries them; `normalized` is empty if the server sends none.
   * @throws (rejects) REMOTE_UNREACHABLE at once while the server cannot be reached; REMOTE_CHANGED; DEADLINE_EXCEEDED;
   *   OVERLOADED and codes about the observation from the server; REMOTE_FAILED; CLOSED; the signal's reason
   */
  async predict(observation: Observation, options: PredictOptions): Promise<ActionChunk> {
    const start = performance.now();
    checkOptions(options, ['instruction', 'unnormKey', 'signal'], 'predict');
    checkSignal(options.signal);
    const unnormKey = this.#unnormKey(options.unnormKey);
    const { facts, options: remote, instructionKey } = this.#parts;
    // Copied now, since the caller may reuse its buffers as soon as this call has returned its promise.
    const fields = requestFields(observation, options.instruction, {
      platform: facts.platform,
      keys: remote.keys ?? {},
      instructionKey,
      ...(remote.robot === undefined ? {} : { robot: remote.robot }),
    });
    const late = deadline(remote.deadlineMs, 'the answer');
    const signals = [
      late.signal,
      this.#closed.signal,
      ...(options.signal === undefined ? [] : [options.signal]),
    ];
    try {
      const answer = await this.#inTurn(fields, AbortSignal.any(signals));
      return this.#chunk(answer, options.instruction, unnormKey, performance.now() - start);
    } finally {
      late.clear();
    }
  }

  /** @throws (rejects) always with BACKEND_UNAVAILABLE: no protocol carries stages */
  stages(): Promise<Map<string, StageTensor>> {
    return Promise.reject(
      new SemanticVlaError(
        'BACKEND_UNAVAILABLE',
        'A remote policy has no stages. Compute them where the checkpoint is.',
      ),
    );
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort(new SemanticVlaError('CLOSED', 'This remote policy is closed. Connect again.'));
    this.#parts.transport.close();
  }

  /** Closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #unnormKey(asked: string | undefined): string {
    const { unnormKey } = this.#parts.facts;
    if (asked === undefined || asked === unnormKey) return unnormKey ?? 'remote';
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option unnormKey: the server chose ${unnormKey ?? 'it'} when it started, found ${asked}. Leave the option out.`,
    );
  }

  /** Requests run one after the other: the protocols do not number them. */
  async #inTurn(fields: WireMap, signal: AbortSignal): Promise<RemoteAnswer> {
    const before = this.#turn;
    let done: () => void = () => {};
    this.#turn = new Promise((resolve) => {
      done = resolve;
    });
    try {
      this.#check(signal);
      await orAborted(before, signal);
      this.#check(signal);
      return await this.#ask(fields, signal);
    } finally {
      void before.then(done);
    }
  }

  #check(signal: AbortSignal): void {
    signal.throwIfAborted();
    if (this.#refusal !== null) throw this.#refusal;
  }

  async #ask(fields: WireMap, signal: AbortSignal): Promise<RemoteAnswer> {
    const { transport } = this.#parts;
    try {
      return await transport.request(fields, signal);
    } catch (error) {
      if (error instanceof SemanticVlaError && error.code === 'REMOTE_CHANGED') this.#change(error);
      else if (error instanceof SemanticVlaError && error.code === 'REMOTE_UNREACHABLE') this.#hold(error);
      else if (!transport.connected && error instanceof SemanticVlaError) this.#hold(error);
      throw error;
    }
  }

  #chunk(answer: RemoteAnswer, instruction: string, unnormKey: string, totalMs: number): ActionChunk {
    const { facts, transport } = this.#parts;
    const { actions, shape, normalized, inferMs } = answer;
    const chunk: ActionChunk = {
      actions,
      normalized: normalized ?? new Float32Array(0),
      shape,
      dimensions: facts.dimensions,
      keptPatches: {},
      similarity: {},
      timings:
        inferMs === null
          ? { total: totalMs }
          : { policy: inferMs, network: Math.max(0, totalMs - inferMs), total: totalMs },
      instruction,
      unnormKey,
    };
    try {
      return checkedChunk(chunk, facts, `answer of server ${transport.url.origin}`);
    } catch (error) {
      const { code, message } = error as SemanticVlaError;
      if (code !== 'CHUNK_INVALID') throw error;
      throw new SemanticVlaError('REMOTE_FAILED', message, { cause: error });
    }
  }

  #hold(error: SemanticVlaError): void {
    if (this.#refusal !== null || this.#closed.signal.aborted) return;
    this.#refusal =
      error.code === 'REMOTE_UNREACHABLE'
        ? error
        : new SemanticVlaError(
            'REMOTE_UNREACHABLE',
            `${error.message} The server ended the connection; it is tried again.`,
          );
    this.#tell({ kind: 'hold', error: this.#refusal });
    void this.#reconnect(performance.now());
  }

  #change(error: SemanticVlaError): void {
    if (this.#refusal?.code === 'REMOTE_CHANGED') return;
    this.#refusal = error;
    this.#parts.transport.close();
    this.#tell({ kind: 'changed', error });
  }

  /** Tries until the server is back, has changed, or this is closed. Never rejects. */
  async #reconnect(since: number): Promise<void> {
    const { transport, name, options } = this.#parts;
    for (let attempt = 0; !this.#closed.signal.aborted; attempt++) {
      await pause(retryDelay(attempt, Math.random()), this.#closed.signal);
      const late = deadline(options.connectMs ?? options.deadlineMs, 'the connection');
      try {
        const metadata = await transport.connect(AbortSignal.any([late.signal, this.#closed.signal]));
        if (!encodeMsgpackNumpy(metadata).equals(this.#metadata)) {
          this.#change(
            new SemanticVlaError(
              'REMOTE_CHANGED',
              `Server ${name}: expected the policy of before, found other metadata. Connect anew if it is meant.`,
            ),
          );
          return;
        }
        this.#refusal = null;
        this.#tell({ kind: 'resume', downMs: performance.now() - since, attempts: attempt + 1 });
        return;
      } catch (error) {
        // Else still unreachable; the next attempt will tell.
        if ((error as SemanticVlaError).code === 'REMOTE_CHANGED') {
          this.#change(error as SemanticVlaError);
          return;
        }
      } finally {
        late.clear();
      }
    }
  }
}
