/** The metrics of `GET /metrics`, for Prometheus. Each server has its own registry: two in one process share nothing. */

import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export type Protocol = 'act' | 'openpi' | 'oip' | 'vla-eval' | 'lerobot';

/** Seconds; a chunk lasts 160 ms to 1 s on a robot, and an inference takes milliseconds to seconds. */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];

/** Number of requests counted in one batch, which takes about 50 microseconds. */
const mostPending = 64;

/** Why a request was refused, as the metrics count it. */
export type Rejection = 'superseded' | 'draining' | 'memory' | 'places' | 'token';

/** Records what happens inside the server and its policy; implemented in lib/profile/recorder. */
export interface ServeRecorder {
  /** Additional metrics: complete lines in Prometheus's text format, with names that are not used here. */
  metricsText(): Promise<string>;
  /** A request was refused. @param at milliseconds of `performance.now()` */
  event(kind: 'rejected', at: number, value: number, reason: Rejection): void;
}
/** Values that are kept elsewhere and read when the metrics are requested. */
export interface Gauges {
  connections(protocol: Protocol): number;
  busy(): boolean;
  waiting(): number;
  ready(): boolean;
  heldBytes(): number;
}

export class ServerMetrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<'protocol' | 'code'>;
  readonly #requestSeconds: Histogram<'protocol'>;
  readonly #inferenceSeconds: Histogram;
  readonly #rejections: Counter<'reason'>;
  readonly #disconnects: Counter<'protocol' | 'reason'>;
  readonly #recorder: ServeRecorder | undefined;
  /**
   * Answers not yet counted in the registry: counting one takes longer than everything else about an answer, so it is postponed
   * until the metrics are requested.
   */
  #answered: (readonly [Protocol, code: string, seconds: number | null])[] = [];
  #inferences: number[] = [];

  constructor(gauges: Gauges, recorder?: ServeRecorder) {
    this.#recorder = recorder;
    const registers = [this.#registry];
    this.#requests = new Counter({
      name: 'semanticvla_requests_total',
      help: 'Requests for actions, by how they ended: OK or an error code.',
      labelNames: ['protocol', 'code'],
      registers,
    });
    this.#requestSeconds = new Histogram({
      name: 'semanticvla_request_seconds',
      help: 'From the whole request received to its answer written, answered requests only.',
      labelNames: ['protocol'],
      buckets,
      registers,
    });
    this.#inferenceSeconds = new Histogram({
      name: 'semanticvla_inference_seconds',
      help: 'Time in the policy.',
      buckets,
      registers,
    });
    this.#rejections = new Counter({
      name: 'semanticvla_rejected_total',
      help: 'Requests refused before the policy: superseded by a newer one, draining, no memory or no place for them, no token.',
      labelNames: ['reason'],
      registers,
    });
    this.#disconnects = new Counter({
      name: 'semanticvla_disconnects_total',
      help: 'Connections that ended with a request open: gone at upload, inference or answer, or too slow to read.',
      labelNames: ['protocol', 'reason'],
      registers,
    });
    const gauge = (name: string, help: string, read: () => number): Gauge =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    gauge('semanticvla_ready', '1 when a request would be served.', () => Number(gauges.ready()));
    gauge('semanticvla_busy', '1 while an inference runs.', () => Number(gauges.busy()));
    gauge('semanticvla_waiting', 'Requests that wait for a turn, at most one a connection.', () =>
      gauges.waiting(),
    );
    gauge('semanticvla_held_bytes', 'Bytes of requests in memory, unfinished ones too.', () =>
      gauges.heldBytes(),
    );
    gauge('process_resident_memory_bytes', 'Resident memory of the process.', () =>
      process.memoryUsage.rss(),
    );
    new Gauge({
      name: 'semanticvla_connections',
      help: 'Open connections.',
      labelNames: ['protocol'],
      registers,
      collect() {
        for (const protocol of ['act', 'openpi', 'lerobot'] as const)
          this.set({ protocol }, gauges.connections(protocol));
      },
    });
  }

  /** @param seconds null if the answer contained no actions */
  request(protocol: Protocol, code: string, seconds: number | null): void {
    this.#answered.push([protocol, code, seconds]);
    if (this.#answered.length >= mostPending) this.#count();
  }

  inference(seconds: number): void {
    this.#inferences.push(seconds);
    if (this.#inferences.length >= mostPending) this.#count();
  }

  rejected(reason: Rejection): void {
    this.#rejections.inc({ reason });
    this.#recorder?.event('rejected', performance.now(), Number.NaN, reason);
  }

  disconnected(protocol: Protocol, reason: 'upload' | 'inference' | 'slow' | 'idle' | 'late'): void {
    this.#disconnects.inc({ protocol, reason });
  }

  #count(): void {
    for (const [protocol, code, seconds] of this.#answered) {
      this.#requests.inc({ protocol, code });
      if (seconds !== null) this.#requestSeconds.observe({ protocol }, seconds);
    }
    for (const seconds of this.#inferences) this.#inferenceSeconds.observe(seconds);
    this.#answered = [];
    this.#inferences = [];
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async text(): Promise<string> {
    this.#count();
    return (await this.#registry.metrics()) + ((await this.#recorder?.metricsText()) ?? '');
  }
}
