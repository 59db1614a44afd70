/**
 * Bytes of requests in memory, over all connections and both protocols: of bodies and messages that arrive, of their
 * unfinished parts, and of those that wait for their turn. When there is no room, whoever holds the most gives way, so that
 * nobody can keep the others out by uploading slowly: an upload weighs its bytes, and after a second its bytes times
 * its seconds. What the policy is reading at the moment is kept.
 */

import { SemanticVlaError } from '../support/errors.ts';

/** An upload of this age weighs more the longer it takes. */
const graceMs = 1000;

export class ByteBudget {
  readonly #limit: number;
  readonly #onRefused: () => void;
  readonly #leases = new Set<Lease>();
  #held = 0;

  /** @param onRefused counted by the caller: somebody gave way */
  constructor(limit: number, onRefused: () => void = () => {}) {
    this.#limit = limit;
    this.#onRefused = onRefused;
  }

  get held(): number {
    return this.#held;
  }

  /** @param revoke called when this one gives way; its memory is to be let go at once */
  lease(revoke: (error: SemanticVlaError) => void): Lease {
    const lease = new Lease(this, revoke);
    this.#leases.add(lease);
    return lease;
  }

  /** Of leases only. @throws OVERLOADED `lease` is the one to give way */
  count(lease: Lease, bytes: number): void {
    this.#held += bytes;
    if (bytes <= 0) return;
    const now = performance.now();
    while (this.#held > this.#limit) {
      const dearest = this.#dearest(now);
      this.#onRefused();
      if (dearest === null || dearest.weight(now) <= lease.weight(now)) {
        throw new SemanticVlaError(
          'OVERLOADED',
          'Too many requests are being received at once. Ask again later.',
        );
      }
      const error = new SemanticVlaError(
        'OVERLOADED',
        'Others needed the memory that this request held the most of. Ask again, in one go.',
      );
      dearest.release();
      dearest.revoke(error);
    }
  }

  forget(lease: Lease): void {
    this.#leases.delete(lease);
  }

  #dearest(now: number): Lease | null {
    let dearest: Lease | null = null;
    for (const lease of this.#leases) {
      if (dearest === null || lease.weight(now) > dearest.weight(now)) dearest = lease;
    }
    return dearest;
  }
}

/** What one request holds. */
export class Lease {
  readonly revoke: (error: SemanticVlaError) => void;
  readonly #budget: ByteBudget;
  readonly #begun = performance.now();
  #bytes = 0;
  #state: 'arriving' | 'arrived' | 'pinned' | 'released' = 'arriving';

  constructor(budget: ByteBudget, revoke: (error: SemanticVlaError) => void) {
    this.#budget = budget;
    this.revoke = revoke;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Milliseconds of the monotonic clock. */
  get begun(): number {
    return this.#begun;
  }

  weight(now: number): number {
    if (this.#state === 'pinned') return -1;
    const seconds = this.#state === 'arriving' ? (now - this.#begun) / graceMs : 1;
    return this.#bytes * Math.max(1, seconds);
  }

  /** @throws OVERLOADED */
  add(bytes: number): void {
    if (this.#state === 'released') return;
    this.#bytes += bytes;
    this.#budget.count(this, bytes);
  }

  /** It has arrived completely. */
  arrived(): void {
    if (this.#state === 'arriving') this.#state = 'arrived';
  }

  /** The policy reads it from now on. */
  pin(): void {
    if (this.#state !== 'released') this.#state = 'pinned';
  }

  /** Idempotent. */
  release(): void {
    if (this.#state === 'released') return;
    this.#state = 'released';
    this.#budget.count(this, -this.#bytes);
    this.#budget.forget(this);
    this.#bytes = 0;
  }
}
