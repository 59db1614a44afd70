/** Memory for the bodies of HTTP requests: it grows as bytes arrive, and the next request reuses it. */

import { SemanticVlaError } from '../support/errors.ts';
import type { ByteBudget, Lease } from './byteBudget.ts';
import { invalidRequest } from './ndarray.ts';

/** Size of a body's first buffer, and of the largest one kept for reuse: enough for two cameras of 640 x 480. */
const keptBytes = 4 * 2 ** 20;

export class BodyPool {
  readonly #bodyBytes: number;
  readonly #budget: ByteBudget;
  /**
   * A buffer that no request uses now. Fresh memory would cost more than parsing the JSON, since the kernel provides it
   * page by page at the first touch.
   */
  #spare: Buffer | null = null;

  /** @param bodyBytes largest size of one body */
  constructor(bodyBytes: number, budget: ByteBudget) {
    this.#bodyBytes = bodyBytes;
    this.#budget = budget;
  }

  /**
   * Starts a body that is about to arrive.
   * @param declared its length, if the client stated it
   * @param revoke called when its memory is needed by others; it has already been released then
   * @throws REQUEST_TOO_LARGE
   */
  begin(declared: number | null, revoke: (error: SemanticVlaError) => void): Body {
    if (declared !== null && declared > this.#bodyBytes) throw tooLarge(this.#bodyBytes);
    return new Body(this, declared ?? this.#bodyBytes, this.#budget.lease(revoke));
  }

  takeSpare(): Buffer {
    const spare = this.#spare ?? Buffer.alloc(0);
    this.#spare = null;
    return spare;
  }

  /** Frees large buffers at once: left to the garbage collector, two or three would exist at a time. */
  giveBack(buffer: Buffer): void {
    if (buffer.length > keptBytes) (buffer.buffer as ArrayBuffer).resize(0);
    else if (this.#spare === null || this.#spare.length < buffer.length) this.#spare = buffer;
  }
}

/** Collects the bytes of one body in order of arrival. */
export class Body {
  readonly lease: Lease;
  readonly #pool: BodyPool;
  /** The largest size that it may have. */
  readonly #most: number;
  #buffer: Buffer;
  #length = 0;

  constructor(pool: BodyPool, most: number, lease: Lease) {
    this.#pool = pool;
    this.#most = most;
    this.lease = lease;
    this.#buffer = pool.takeSpare();
  }

  get length(): number {
    return this.#length;
  }

  /** Adds bytes. @throws REQUEST_TOO_LARGE, OVERLOADED */
  append(chunk: Uint8Array): void {
    const length = this.#length + chunk.length;
    if (length > this.#most) throw tooLarge(this.#most);
    this.lease.add(chunk.length);
    if (length > this.#buffer.length) this.#grow(length);
    this.#buffer.set(chunk, this.#length);
    this.#length = length;
  }

  /** The bytes so far; valid until `release`. @throws REQUEST_INVALID if there are none */
  bytes(): Buffer {
    if (this.#length === 0) throw invalidRequest('a JSON body', 'none');
    return this.#buffer.subarray(0, this.#length);
  }

  /** Call this when the bytes are no longer needed: another request will reuse the memory. Idempotent. */
  release(): void {
    this.lease.release();
    this.#length = 0;
    if (this.#buffer.length > 0) this.#pool.giveBack(this.#buffer);
    this.#buffer = Buffer.alloc(0);
  }

  /**
   * Reserves the largest possible size at once: the system provides pages only as they are written, so a large declared length
   * costs address space, not memory.
   */
  #grow(needed: number): void {
    const size = needed <= keptBytes ? Math.min(this.#most, keptBytes) : this.#most;
    const grown =
      size <= keptBytes
        ? Buffer.allocUnsafeSlow(size)
        : Buffer.from(new ArrayBuffer(size, { maxByteLength: size }), 0, size);
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
  }
}

function tooLarge(limit: number): SemanticVlaError {
  return new SemanticVlaError(
    'REQUEST_TOO_LARGE',
    `Request: expected a body of at most ${limit} bytes, found more.`,
  );
}
