/**
 * One replica of a fleet at a time, as its directory says. It moves between two requests: the new connection is made while the
 * old one answers. A replica that does not answer is left, and the request is sent to another one, once: predictions change
 * nothing on the server. What a deadline ends is not repeated; the robot holds.
 */

import { encodeMsgpackNumpy } from '../serve/msgpackNumpy.ts';
import type { WireMap } from '../serve/ndarray.ts';
import { orAborted } from '../support/abort.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { deadline } from './deadline.ts';
import type { Directory } from './directory.ts';
import { type RemoteAnswer, remoteFailed, type Transport } from './transport.ts';

/** What happens to a robot's place in the fleet. */
export type FleetEvent =
  /** Another replica answers from now on: the directory asked for it, or the former one did not answer. */
  | { readonly kind: 'moved'; readonly from: string; readonly to: string }
  /** The directory cannot be asked (told once), or again can (null). Meanwhile the robot keeps its replica. */
  | { readonly kind: 'directory'; readonly error: SemanticVlaError | null };

export interface FleetOptions {
  /** Milliseconds for one question to the directory, and for one connection to a replica. */
  readonly connectMs: number;
  readonly tell: (event: FleetEvent) => void;
}

interface Parts extends FleetOptions {
  readonly directory: Directory;
  /** @throws OPTION_INVALID if it isn't an address of this protocol */
  readonly open: (replica: string) => Transport;
}

interface Replica {
  /** As the directory wrote it. */
  readonly name: string;
  readonly transport: Transport;
  readonly metadata: WireMap | null;
}

/** How long a replica that did not answer is avoided. The directory may still give it, if it has no other. */
const avoidMs = 10_000;
/** Unanswered requests in a row after which another replica is tried. One may be just late. */
const mostMisses = 2;
/** The first renewals, until the directory has said how long a lease lasts. */
const firstLeaseMs = 3000;

/** Errors that say that the replica answers nobody, or is another one than it was. */
const gone: ReadonlySet<string> = new Set(['REMOTE_UNREACHABLE', 'DRAINING', 'REMOTE_CHANGED']);
/** Errors that may be the replica's fault. */
const missed: ReadonlySet<string> = new Set(['DEADLINE_EXCEEDED', 'REMOTE_FAILED']);

export class FleetTransport implements Transport {
  onLost: ((error: SemanticVlaError) => void) | null = null;
  /** Always true: a request connects where it is needed. */
  readonly connected = true;
  readonly #parts: Parts;
  readonly #closed = new AbortController();
  readonly #avoided = new Map<string, number>();
  #at: Replica | null = null;
  /** Connected, and waiting for the running request to end. */
  #next: Replica | null = null;
  /** The last replica that answered, for messages, and for when the directory is down. */
  #last: string | null = null;
  /** Every replica must describe itself like the first one. */
  #facts: Buffer | null = null;
  #reaching: Promise<Replica> | null = null;
  #isAsking = false;
  #misses = 0;
  #leaseMs = firstLeaseMs;
  #renewal: NodeJS.Timeout | undefined;
  #directoryIsDown = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  get url(): URL {
    return this.#at?.transport.url ?? this.#parts.directory.url;
  }

  async connect(signal: AbortSignal): Promise<WireMap | null> {
    const { metadata } = this.#at ?? (await orAborted(this.#reach(), signal));
    return metadata;
  }

  async request(fields: WireMap, signal: AbortSignal): Promise<RemoteAnswer> {
    this.#isAsking = true;
    try {
      for (let isFirst = true; ; isFirst = false) {
        const replica = this.#at ?? (await orAborted(this.#reach(), signal));
        try {
          const answer = await replica.transport.request(fields, signal);
          this.#misses = 0;
          return answer;
        } catch (error) {
          const code = error instanceof SemanticVlaError ? error.code : '';
          const isGone = gone.has(code);
          if (missed.has(code)) this.#misses++;
          if (isGone || this.#misses >= mostMisses) this.#leave(replica);
          // An observation that kills its replica must not kill the whole fleet: two at most.
          if (!isFirst || !isGone || signal.aborted) throw error;
        }
      }
    } finally {
      this.#isAsking = false;
      this.#swap();
    }
  }

  close(): void {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort(new SemanticVlaError('CLOSED', 'The connection to the fleet is closed.'));
    clearTimeout(this.#renewal);
    this.#drop();
    void this.#parts.directory.release(AbortSignal.timeout(this.#parts.connectMs));
  }

  /** The replica that the directory names, or the next one if that does not answer. Once at a time, for whoever waits. */
  #reach(): Promise<Replica> {
    this.#reaching ??= this.#search().finally(() => {
      this.#reaching = null;
    });
    return this.#reaching;
  }

  async #search(): Promise<Replica> {
    const tried = new Set<string>();
    for (let failure: unknown = null; ; ) {
      const name = await this.#nameOther(tried);
      if (tried.has(name)) throw this.#unreachable(failure);
      tried.add(name);
      try {
        const replica = await this.#connectTo(name);
        this.#settle(replica);
        return replica;
      } catch (error) {
        this.#closed.signal.throwIfAborted();
        failure = error;
        this.#avoid(name);
      }
    }
  }

  /** While the directory is down, the last replica is tried again. */
  async #nameOther(tried: ReadonlySet<string>): Promise<string> {
    try {
      return await this.#lease(null);
    } catch (error) {
      this.#closed.signal.throwIfAborted();
      if (this.#last === null || tried.has(this.#last)) throw this.#unreachable(error);
      return this.#last;
    }
  }

  /** What is worth another try has one code; another policy or a wrong token is not. */
  #unreachable(cause: unknown): unknown {
    const { code, message } = cause as SemanticVlaError;
    if (code === 'REMOTE_CHANGED' || code === 'UNAUTHORIZED') return cause;
    const { href } = this.#parts.directory.url;
    return new SemanticVlaError(
      'REMOTE_UNREACHABLE',
      `Fleet ${href}: expected a replica that answers, found none. ${message}`,
      { cause },
    );
  }

  async #lease(current: string | null): Promise<string> {
    const { directory, connectMs } = this.#parts;
    const late = deadline(connectMs, `an answer of the directory ${directory.url.origin}`);
    try {
      const signal = AbortSignal.any([late.signal, this.#closed.signal]);
      const { replica, leaseMs } = await directory.lease(current, this.#avoidedNow(), signal);
      this.#leaseMs = leaseMs;
      this.#directoryAnswers(null);
      return replica;
    } catch (error) {
      this.#closed.signal.throwIfAborted();
      this.#directoryAnswers(error as SemanticVlaError);
      throw error;
    } finally {
      late.clear();
      this.#renewLater();
    }
  }

  async #connectTo(name: string): Promise<Replica> {
    const { open, connectMs, directory } = this.#parts;
    let transport: Transport;
    try {
      transport = open(name);
    } catch (error) {
      throw remoteFailed(directory.url, 'the address of a replica', (error as Error).message);
    }
    const late = deadline(connectMs, `the connection to ${transport.url.origin}`);
    try {
      const metadata = await transport.connect(AbortSignal.any([late.signal, this.#closed.signal]));
      this.#closed.signal.throwIfAborted();
      const facts = encodeMsgpackNumpy(metadata);
      this.#facts ??= facts;
      if (!facts.equals(this.#facts)) {
        throw new SemanticVlaError(
          'REMOTE_CHANGED',
          `Server ${transport.url.origin}: expected the policy of before, found other metadata. Connect anew if it is meant.`,
        );
      }
      const replica = { name, transport, metadata };
      transport.onLost = () => this.#leave(replica);
      return replica;
    } catch (error) {
      transport.close();
      throw error;
    } finally {
      late.clear();
    }
  }

  #settle(replica: Replica): void {
    const from = this.#last;
    this.#drop();
    this.#at = replica;
    this.#last = replica.name;
    this.#misses = 0;
    if (from !== null && from !== replica.name) this.#parts.tell({ kind: 'moved', from, to: replica.name });
  }

  #swap(): void {
    if (this.#next === null || this.#isAsking) return;
    const next = this.#next;
    this.#next = null;
    this.#settle(next);
  }

  /** It did not answer: another one is looked for at once, so that the next request need not wait. */
  #leave(replica: Replica): void {
    this.#avoid(replica.name);
    if (replica === this.#next) {
      this.#next = null;
      replica.transport.close();
      return;
    }
    if (replica !== this.#at) return;
    if (this.#next !== null) {
      const next = this.#next;
      this.#next = null;
      this.#settle(next);
      return;
    }
    this.#drop();
    if (!this.#closed.signal.aborted) this.#reach().catch(() => {});
  }

  #drop(): void {
    for (const replica of [this.#at, this.#next]) replica?.transport.close();
    this.#at = null;
    this.#next = null;
  }

  #renewLater(): void {
    clearTimeout(this.#renewal);
    if (this.#closed.signal.aborted) return;
    // Apart from each other, also after all robots have joined at once.
    const ms = (this.#leaseMs / 3) * (0.8 + 0.4 * Math.random());
    this.#renewal = setTimeout(() => void this.#renew().catch(() => {}), ms).unref();
  }

  async #renew(): Promise<void> {
    const at = this.#at;
    if (at === null || this.#reaching !== null) {
      this.#renewLater();
      return;
    }
    const name = await this.#lease(at.name);
    if (name === at.name || this.#next !== null || this.#at !== at) return;
    try {
      const next = await this.#connectTo(name);
      if (this.#at !== at || this.#next !== null || this.#closed.signal.aborted) next.transport.close();
      else {
        this.#next = next;
        this.#swap();
      }
    } catch {
      // The old one still answers; the next renewal names the one that did not.
      this.#avoid(name);
    }
  }

  #avoid(name: string): void {
    this.#avoided.set(name, performance.now() + avoidMs);
  }

  #avoidedNow(): string[] {
    const now = performance.now();
    for (const [name, until] of this.#avoided) if (until <= now) this.#avoided.delete(name);
    return [...this.#avoided.keys()];
  }

  #directoryAnswers(error: SemanticVlaError | null): void {
    if (this.#directoryIsDown === (error !== null)) return;
    this.#directoryIsDown = error !== null;
    this.#parts.tell({ kind: 'directory', error });
  }
}
