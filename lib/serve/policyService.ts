/** One policy behind both protocols: reads a request, takes the slot, predicts, checks, counts. */

import { checkedChunk } from '../support/checkedChunk.ts';
import { SemanticVlaError } from '../support/errors.ts';
import type { ActionChunk, Policy } from '../types.ts';
import { BodyPool } from './bodyPool.ts';
import { ByteBudget, type Lease } from './byteBudget.ts';
import { type Failure, failureOf } from './failure.ts';
import { type Asker, InferenceSlot } from './inferenceSlot.ts';
import type { ServeLimits } from './limits.ts';
import { LiveFeed, type LiveOptions, type Sender } from './live/liveFeed.ts';
import type { ServerLog } from './log.ts';
import type { WireMap } from './ndarray.ts';
import { type ObservationKeys, observationReader, type ReadObservation } from './observationMap.ts';
import { describePolicy, type ExtraMetadata, fingerprint } from './serverMetadata.ts';
import { type Protocol, type ServeRecorder, ServerMetrics } from './serverMetrics.ts';
import type { WireFields } from './wireFields.ts';

export interface ServiceOptions {
  readonly policy: Policy;
  readonly keys: ObservationKeys;
  readonly unnormKey: string | undefined;
  readonly metadata: ExtraMetadata;
  readonly limits: ServeLimits;
  readonly log: ServerLog;
  readonly recorder?: ServeRecorder | undefined;
  /** null: there is no live page. */
  readonly live?: LiveOptions | null;
}

export interface Inference {
  readonly chunk: ActionChunk;
  /** Milliseconds in the policy, without the wait for a turn. */
  readonly inferMs: number;
}

/** Who asks, and the memory the request holds. */
export interface Ticket {
  /** The connection. */
  readonly asker: Asker & Sender;
  readonly protocol: Protocol;
  /** Aborted when the client is gone, or when the memory is needed by others. */
  readonly caller: AbortController;
  /** The request's share of the memory; nobody takes it back once the policy reads it. */
  readonly lease: Lease;
}

/** After this many failures of the policy in a row the server reports that it is not ready. */
const failuresUntilNotReady = 3;

export class PolicyService {
  readonly metrics: ServerMetrics;
  readonly limits: ServeLimits;
  readonly log: ServerLog;
  readonly metadata: WireMap;
  readonly fingerprint: string;
  readonly budget: ByteBudget;
  readonly bodies: BodyPool;
  readonly policy: Policy;
  /** null: there is no live page. */
  readonly live: LiveFeed | null;
  readonly #read: ReadObservation;
  readonly #unnormKey: string | undefined;
  readonly #slot: InferenceSlot;
  readonly #connections = new Map<Protocol, () => number>();
  #draining = false;
  #failures = 0;

  constructor({ policy, keys, unnormKey, metadata, limits, log, recorder, live = null }: ServiceOptions) {
    this.policy = policy;
    this.live = live === null ? null : new LiveFeed(policy, live, log);
    this.#unnormKey = unnormKey;
    this.#read = observationReader(policy, keys);
    this.limits = limits;
    this.log = log;
    this.metadata = describePolicy(policy, unnormKey, metadata);
    this.fingerprint = fingerprint(this.metadata);
    this.metrics = new ServerMetrics(
      {
        connections: (protocol) => this.#connections.get(protocol)?.() ?? 0,
        busy: () => this.#slot.busy,
        waiting: () => this.#slot.waiting,
        ready: () => this.ready,
        heldBytes: () => this.budget.held,
      },
      recorder,
    );
    this.budget = new ByteBudget(limits.heldBytes, () => this.metrics.rejected('memory'));
    this.bodies = new BodyPool(limits.bodyBytes, this.budget);
    this.#slot = new InferenceSlot((why) => this.metrics.rejected(why));
  }

  /** Whether a request would be served: the server is not shutting down, and the policy does not keep failing. */
  get ready(): boolean {
    return !this.#draining && this.#failures < failuresUntilNotReady;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** `/metrics` calls `count` for the number of connections of this protocol. */
  countConnections(protocol: Protocol, count: () => number): void {
    this.#connections.set(protocol, count);
  }

  /**
   * @param fields decoded request
   * @throws (rejects) what `observationReader` throws, IMAGE_*, OVERLOADED, DRAINING, what the door for chunks throws, or the policy's
   *   error
   */
  async infer(fields: WireFields, ticket: Ticket): Promise<Inference> {
    try {
      return await this.#infer(fields, ticket);
    } catch (error) {
      this.live?.refused(ticket.protocol, ticket.asker, error);
      throw error;
    }
  }

  #infer(fields: WireFields, { asker, caller, lease, protocol }: Ticket): Promise<Inference> {
    this.live?.heard(fields, asker);
    const { observation: open, instruction, unnormKey: wanted } = this.#read(fields);
    const unnormKey = this.#unnormKey;
    if (unnormKey !== undefined) checkUnnormKey(wanted, unnormKey);
    const seen = this.live?.asked(protocol, asker, instruction) ?? null;
    return this.#slot.run(
      async (signal) => {
        lease.pin();
        const start = performance.now();
        try {
          const observation = await open();
          signal.throwIfAborted();
          const answer = await this.policy.predict(observation, {
            instruction,
            signal,
            ...(unnormKey === undefined ? {} : { unnormKey }),
          });
          const chunk = checkedChunk(answer, this.policy);
          checkUnnormKey(wanted, chunk.unnormKey);
          const inferMs = performance.now() - start;
          this.metrics.inference(inferMs / 1000);
          this.#failures = 0;
          if (seen !== null) this.live?.answered(seen, observation, chunk, start);
          return { chunk, inferMs };
        } catch (error) {
          if (!signal.aborted && failureOf(error).status >= 500) this.#failures++;
          throw error;
        }
      },
      asker,
      caller,
    );
  }

  /** Logs and counts an answered request. `totalMs`: from the whole request to its answer. */
  answered(protocol: Protocol, fields: { bytes: number; inferMs: number; totalMs: number }): void {
    this.metrics.request(protocol, 'OK', fields.totalMs / 1000);
    this.log.info({ protocol, code: 'OK', ...fields }, 'request');
  }

  /** Logs and counts a failed request. Details that the client is not told are in the log. */
  failed(protocol: Protocol, error: unknown): Failure {
    const failure = failureOf(error);
    this.live?.refused(protocol, null, error);
    this.metrics.request(protocol, failure.code, null);
    const fields = { protocol, code: failure.code, status: failure.status };
    if (failure.status >= 500 && failure.status !== 503)
      this.log.error({ ...fields, err: error }, 'request failed');
    else this.log.warn({ ...fields, reason: failure.message }, 'request refused');
    return failure;
  }

  /** Accepts no new work; aborts what still runs after `patienceMs`, and resolves when nothing runs. */
  async drain(patienceMs: number): Promise<void> {
    this.#draining = true;
    const timer = setTimeout(() => this.#slot.abort(), patienceMs);
    await this.#slot.drain();
    clearTimeout(timer);
  }
}

/** Refuses actions in units other than the client expects: they would move the robot wrongly. */
function checkUnnormKey(wanted: string | null, served: string): void {
  // LIBERO's training data is named after the suite, with this suffix or without; the reference's clients leave it out.
  if (wanted === null || wanted === served || `${wanted}_no_noops` === served) return;
  throw new SemanticVlaError(
    'UNNORM_KEY_OTHER',
    `Field unnorm_key: expected ${served}, in whose units this server answers, found ${JSON.stringify(wanted.slice(0, 80))}. ` +
      'Leave it out, or ask a server that was started with that --unnorm-key.',
  );
}
