/**
 * Limits the memory that requests take, over all connections and both protocols: bodies and messages, whether they are still
 * arriving or wait for their turn. When the limit is reached, the request with the largest weight is dropped. The weight is the
 * number of bytes, multiplied, for an upload that takes more than a second, by its seconds; so nobody can block others by
 * uploading slowly. A request that the policy is reading is never dropped.
 */

import { SemanticVlaError } from '../support/errors.ts';

/** An upload older than this weighs more the longer it takes. */
const graceMs = 1000;

export class ByteBudget {
  readonly #limit: number;
  readonly #onRefused: () => void;
  readonly #leases = new Set<Lease>();
  #held = 0;

  /** @param onRefused called for each request that is dropped or refused, to count it */
  constructor(limit: number, onRefused: () => void = () => {}) {
    this.#limit = limit;
    this.#onRefused = onRefused;
  }

  get held(): number {
    return this.#held;
  }

  /** @param revoke called when this request is dropped; it must free its memory at once */
  lease(revoke: (error: SemanticVlaError) => void): Lease {
    const lease = new Lease(this, revoke);
    this.#leases.add(lease);
    return lease;
  }

  /** For leases only. @throws OVERLOADED if `lease` is the one to drop */
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

/** The bytes that one request holds. */
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

  /** When the request began, in milliseconds of the monotonic clock. */
  get begun(): number {
    return this.#begun;
  }

  weight(now: number): number {
    if (this.#state === 'pinned') return -1;
    const seconds = this.#state === 'arriving' ? (now - this.#begun) / graceMs : 1;
    return this.#bytes * Math.max(1, seconds);
  }

  /** Counts further bytes. @throws OVERLOADED */
  add(bytes: number): void {
    if (this.#state === 'released') return;
    this.#bytes += bytes;
    this.#budget.count(this, bytes);
  }

  /** The request has arrived completely: its weight no longer grows with time. */
  arrived(): void {
    if (this.#state === 'arriving') this.#state = 'arrived';
  }

  /** From now on the policy reads the request, so it can no longer be dropped. */
  pin(): void {
    if (this.#state !== 'released') this.#state = 'pinned';
  }

  /** Gives all bytes back. Idempotent. */
  release(): void {
    if (this.#state === 'released') return;
    this.#state = 'released';
    this.#budget.count(this, -this.#bytes);
    this.#budget.forget(this);
    this.#bytes = 0;
  }
}
