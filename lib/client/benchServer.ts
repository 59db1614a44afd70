/** A running server as its clients see it: latency, answers a second, misses, by one or several clients at once. */

import type { Progress } from '../checkpoint/checkpoint.ts';
import { summarize } from '../profile/measure/percentiles.ts';
import type { ChunkRecord, Summary } from '../profile/types.ts';
import type { WireMap } from '../serve/ndarray.ts';
import type { ObservationKeys } from '../serve/observationMap.ts';
import { pause } from '../support/abort.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import { checkOptions, checkSignal, expected } from '../support/options.ts';
import { randomObservation, usualFrame, usualInstruction } from '../synth/randomObservation.ts';
import type { Observation } from '../types.ts';
import { openTransport } from './connect.ts';
import { deadline } from './deadline.ts';
import { remoteFacts } from './remoteFacts.ts';
import { requestFields } from './requestFields.ts';
import type { OpenedTransport, Protocol, RemoteAnswer } from './transport.ts';

/** How a server is asked, by how many, and for how long. */
export interface BenchServerOptions {
  /** Connections that ask at the same time; default 1. */
  readonly clients?: number;
  /** Hz: each client asks at the ticks of a clock of its own, evenly apart from the others'. Default: back to back. */
  readonly rateHz?: number;
  /** Requests of each client before any counts; default 10. */
  readonly warmUp?: number;
  /** Each client asks for at least this many milliseconds and this often, and for at most `limitMs`; default 10,000, 100, 60,000. */
  readonly durationMs?: number;
  readonly iterations?: number;
  readonly limitMs?: number;
  /** Milliseconds after which a request has failed with DEADLINE_EXCEEDED; default 10,000. */
  readonly deadlineMs?: number;
  /** Default: frames of noise, for a server that names its cameras and takes no joint state. */
  readonly observation?: Observation;
  readonly instruction?: string;
  /** Keys under which the server looks for cameras, state and instruction. */
  readonly keys?: ObservationKeys;
  readonly token?: string;
  /** Percentiles besides 90, 95 and 99. */
  readonly percentiles?: readonly number[];
  /** Called while it lasts; must return quickly. */
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** What the clients of one server saw. Times in milliseconds, from the call to its answer. */
export interface ServerBench {
  readonly format: 'semanticvla-server-bench';
  readonly version: 1;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly url: string;
  readonly protocol: Protocol;
  /** As the server says; null where it does not. */
  readonly variant: string | null;
  readonly clients: number;
  /** Hz of each client; null: back to back. */
  readonly rateHz: number | null;
  readonly seconds: number;
  readonly answered: number;
  /** Answers of all clients a second. */
  readonly throughput: number;
  /** Requests that failed, by code. */
  readonly errors: Readonly<Record<string, number>>;
  /** With a rate: ticks at which a client could not ask, since its last request was on its way. */
  readonly missed: number;
  /** Of answered requests; null where none was. */
  readonly latency: Summary | null;
  /** The part of it in the policy, as openpi's answers say; null where none does (POST /act). */
  readonly inference: Summary | null;
  /** Every answered request of all clients, in the order asked, since the first; `policy` is its part in the policy. */
  readonly requests: readonly ChunkRecord[];
  readonly perClient: readonly {
    readonly answered: number;
    readonly missed: number;
    readonly latency: Summary | null;
  }[];
}

const defaults = { warmUp: 10, durationMs: 10_000, iterations: 100, limitMs: 60_000, deadlineMs: 10_000 };

const optionNames: readonly (keyof BenchServerOptions)[] = [
  ...(Object.keys(defaults) as (keyof typeof defaults)[]),
  ...(['clients', 'rateHz', 'observation', 'instruction', 'keys', 'token'] as const),
  ...(['percentiles', 'onProgress', 'signal'] as const),
];

const mostClients = 256;
/** After a failed request, so that a server that refuses at once is not asked a million times. */
const afterFailureMs = 10;

type Limits = typeof defaults;

/**
 * Asks a running server as robots do and measures its answers.
 *
 * @param url `http://gpu:8777` (POST /act: this project's server or the reference's), `ws://gpu:8000` (openpi's WebSocket), or a
 *   fleet's directory, `fleet+http://head:8000/fleet`
 * @throws (rejects) OPTION_*, REMOTE_UNREACHABLE, UNAUTHORIZED, DEADLINE_EXCEEDED while connecting, what the server says of a
 *   request of the warm-up, or the signal's reason. Later failures are counted
 */
export async function benchServer(url: string, options: BenchServerOptions = {}): Promise<ServerBench> {
  const limits = check(options);
  const { clients: count = 1, rateHz, percentiles = [], signal = new AbortController().signal } = options;
  const fleet = { connectMs: limits.deadlineMs, tell: () => {} };
  const opened = await Promise.all(
    Array.from({ length: count }, () => openTransport(url, options.token, fleet)),
  );
  try {
    const asked: Client[] = [];
    let variant: string | null = null;
    for (const one of opened) {
      const metadata = await within(limits, signal, 'the connection', (both) => one.transport.connect(both));
      const described =
        metadata?.get('server') === 'semanticvla' ? remoteFacts(one.name, metadata, undefined) : null;
      variant = described?.variant ?? null;
      asked.push(new Client(one, fieldsFor(one, described?.platform ?? null, options), limits, signal));
    }
    for (const client of asked) await client.warmUp();
    const tell = isolated('onProgress', options.onProgress);
    const start = performance.now();
    const periodMs = rateHz === undefined ? null : 1000 / rateHz;
    await Promise.all(
      asked.map((client, i) =>
        client.run(start, periodMs === null ? null : { periodMs, firstMs: (i / count) * periodMs }, () => {
          const done = asked.reduce((sum, client) => sum + client.requests.length, 0);
          tell({
            step: `asking ${opened[0]!.name}`,
            done,
            total: Math.max(done, count * limits.iterations),
            unit: 'steps',
          });
        }),
      ),
    );
    const seconds = (performance.now() - start) / 1000;
    const requests = asked
      .flatMap((client) => client.requests)
      .map((one) => ({ ...one, startMs: one.startMs - start }))
      .sort((a, b) => a.startMs - b.startMs);
    const times = requests.map(({ stages }) => stages.total);
    const inference = requests.flatMap(({ stages }) => stages.policy ?? []);
    const errors: Record<string, number> = {};
    for (const client of asked) for (const code of client.failures) errors[code] = (errors[code] ?? 0) + 1;
    const of = (values: readonly number[]) => (values.length === 0 ? null : summarize(values, percentiles));
    return {
      format: 'semanticvla-server-bench',
      version: 1,
      createdAt: new Date().toISOString(),
      url: opened[0]!.name,
      protocol: opened[0]!.protocol,
      variant,
      clients: count,
      rateHz: rateHz ?? null,
      seconds,
      answered: times.length,
      throughput: times.length / seconds,
      errors,
      missed: asked.reduce((sum, { missed }) => sum + missed, 0),
      latency: of(times),
      inference: of(inference),
      requests,
      perClient: asked.map((client) => ({
        answered: client.requests.length,
        missed: client.missed,
        latency: of(client.requests.map(({ stages }) => stages.total)),
      })),
    };
  } finally {
    for (const { transport } of opened) transport.close();
  }
}

function check(options: BenchServerOptions): Limits {
  checkOptions(options, optionNames, 'benchServer');
  checkSignal(options.signal);
  const { clients = 1, rateHz } = options;
  if (!(Number.isInteger(clients) && clients >= 1 && clients <= mostClients))
    throw expected('OPTION_INVALID', `a whole number in 1..${mostClients}`, 'clients', clients);
  if (rateHz !== undefined && !(rateHz > 0 && rateHz <= 1000))
    throw expected('OPTION_INVALID', 'a number of Hz in 0..1000', 'rateHz', rateHz);
  const limits = { ...defaults };
  for (const name of Object.keys(defaults) as (keyof Limits)[]) {
    const value = options[name] ?? defaults[name];
    if (!(Number.isFinite(value) && value >= 0))
      throw expected('OPTION_INVALID', 'a number >= 0', name, value);
    limits[name] = value;
  }
  return limits;
}

/** @throws OPTION_REQUIRED where nobody says what the server takes */
function fieldsFor(
  { name, instructionKey }: OpenedTransport,
  described: { readonly cameras: readonly string[]; readonly proprio: boolean } | null,
  { observation, instruction = usualInstruction, keys = {} }: BenchServerOptions,
): WireMap {
  if (observation === undefined && (described === null || described.proprio)) {
    const why =
      described === null
        ? 'it does not say which cameras it takes'
        : 'it takes a joint state and does not say of how many numbers';
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `Server ${name}: expected the option observation, since ${why}, found none. Give one that its policy takes.`,
    );
  }
  const given = observation ?? randomObservation(described!.cameras, usualFrame, 0);
  const platform = described ?? { cameras: Object.keys(given.images), proprio: false };
  return requestFields(given, instruction, { platform, keys, instructionKey });
}

class Client {
  /** Answered ones; `startMs` on the monotonic clock. */
  readonly requests: (ChunkRecord & { readonly stages: { readonly total: number } })[] = [];
  readonly failures: string[] = [];
  missed = 0;
  readonly #opened: OpenedTransport;
  readonly #fields: WireMap;
  readonly #limits: Limits;
  readonly #signal: AbortSignal;

  constructor(opened: OpenedTransport, fields: WireMap, limits: Limits, signal: AbortSignal) {
    this.#opened = opened;
    this.#fields = fields;
    this.#limits = limits;
    this.#signal = signal;
  }

  async warmUp(): Promise<void> {
    for (let i = 0; i < this.#limits.warmUp; i++) await this.#ask();
  }

  /** Asks until it has asked long and often enough. Rejects with the signal's reason only. */
  async run(
    start: number,
    rhythm: { readonly periodMs: number; readonly firstMs: number } | null,
    afterEach: () => void,
  ): Promise<void> {
    const { durationMs, iterations, limitMs } = this.#limits;
    let tick = 0;
    for (let asked = 0; ; asked++) {
      const elapsed = performance.now() - start;
      if (elapsed >= limitMs || (asked >= iterations && elapsed >= durationMs)) return;
      if (rhythm !== null) {
        const due = start + rhythm.firstMs + tick * rhythm.periodMs;
        while (performance.now() < due && !this.#signal.aborted)
          await pause(due - performance.now(), this.#signal);
      }
      this.#signal.throwIfAborted();
      await this.#askAndCount(rhythm === null);
      if (rhythm !== null) {
        const passed = (performance.now() - start - rhythm.firstMs) / rhythm.periodMs;
        const next = Math.max(tick + 1, Math.ceil(passed - 1e-6));
        this.missed += next - tick - 1;
        tick = next;
      }
      afterEach();
    }
  }

  async #askAndCount(waits: boolean): Promise<void> {
    const from = performance.now();
    try {
      const { transport } = this.#opened;
      if (!transport.connected)
        await within(this.#limits, this.#signal, 'the connection', (both) => transport.connect(both));
      const { inferMs } = await this.#ask();
      const total = performance.now() - from;
      this.requests.push({
        startMs: from,
        stages: inferMs === null ? { total } : { total, policy: inferMs },
      });
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!(error instanceof SemanticVlaError)) throw error;
      this.failures.push(error.code);
      if (waits) await pause(afterFailureMs, this.#signal);
    }
  }

  #ask(): Promise<RemoteAnswer> {
    const { transport } = this.#opened;
    return within(this.#limits, this.#signal, 'the answer', (both) => transport.request(this.#fields, both));
  }
}

async function within<T>(
  { deadlineMs }: Limits,
  signal: AbortSignal,
  what: string,
  body: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = deadline(deadlineMs, what);
  try {
    return await body(AbortSignal.any([signal, limit.signal]));
  } finally {
    limit.clear();
  }
}
