/**
 * Memory for the bodies of HTTP requests and for WebSocket messages, of all connections together. Only what has arrived is
 * counted, and only that is memory.
 */

import { SemanticVlaError } from '../errors.ts';
import { invalidRequest } from './ndarray.ts';

/** The first buffer of a body, and the largest that is kept for the next one: enough for two cameras of 640 x 480. */
export const keptBytes = 4 * 2 ** 20;

export interface PoolLimits {
  /** Bytes of one body. */
  readonly bodyBytes: number;
  /** Bytes of all bodies at once. */
  readonly heldBytes: number;
}

export class BodyPool {
  readonly #limits: PoolLimits;
  readonly #onFull: () => void;
  #held = 0;
  /**
   * A buffer that no request uses at the moment. Fresh memory costs more than all the reading of JSON: the kernel hands it
   * out page by page, at the first touch.
   */
  #spare: Buffer | null = null;

  /** @param onFull counted by the caller */
  constructor(limits: PoolLimits, onFull: () => void = () => {}) {
    this.#limits = limits;
    this.#onFull = onFull;
  }

  /** Bytes of bodies that are in memory. */
  get held(): number {
    return this.#held;
  }

  /**
   * A body that is yet to come.
   * @param declared its length, if the client told
   * @throws REQUEST_TOO_LARGE
   */
  begin(declared: number | null): Body {
    const { bodyBytes } = this.#limits;
    if (declared !== null && declared > bodyBytes) throw tooLarge(bodyBytes);
    return new Body(this, declared ?? bodyBytes, bodyBytes);
  }

  /** @throws OVERLOADED all bodies together would be too much */
  hold(bytes: number): void {
    if (this.#held + bytes > this.#limits.heldBytes) {
      this.#onFull();
      throw new SemanticVlaError(
        'OVERLOADED',
        'Too many bodies are being received at once. Ask again later.',
      );
    }
    this.#held += bytes;
  }

  letGo(bytes: number): void {
    this.#held -= bytes;
  }

  takeSpare(): Buffer {
    const spare = this.#spare ?? Buffer.alloc(0);
    this.#spare = null;
    return spare;
  }

  /** Large buffers go back to the system at once: left to the collector, two or three of them would be there together. */
  giveBack(buffer: Buffer): void {
    if (buffer.length > keptBytes) (buffer.buffer as ArrayBuffer).resize(0);
    else if (this.#spare === null || this.#spare.length < buffer.length) this.#spare = buffer;
  }
}

/** Bytes as they arrive, one behind the other. */
export class Body {
  readonly #pool: BodyPool;
  /** The most that it can be. */
  readonly #most: number;
  readonly #limit: number;
  #buffer: Buffer;
  #length = 0;

  constructor(pool: BodyPool, most: number, limit: number) {
    this.#pool = pool;
    this.#most = most;
    this.#limit = limit;
    this.#buffer = pool.takeSpare();
  }

  get length(): number {
    return this.#length;
  }

  /** @throws REQUEST_TOO_LARGE, OVERLOADED */
  append(chunk: Uint8Array): void {
    const length = this.#length + chunk.length;
    if (length > this.#limit) throw tooLarge(this.#limit);
    this.#pool.hold(chunk.length);
    if (length > this.#buffer.length) this.#grow(length);
    this.#buffer.set(chunk, this.#length);
    this.#length = length;
  }

  /**
   * Memory for what comes next, of a body of a declared length: to be written to, and then told to `arrived`.
   */
  room(): Buffer {
    if (this.#buffer.length < this.#most) this.#grow(this.#most);
    return this.#buffer.subarray(this.#length, this.#most);
  }

  /** @throws OVERLOADED */
  arrived(bytes: number): void {
    this.#pool.hold(bytes);
    this.#length += bytes;
  }

  /** What has come; valid until `release`. @throws REQUEST_INVALID nothing has */
  bytes(): Buffer {
    if (this.#length === 0) throw invalidRequest('a JSON body', 'none');
    return this.#buffer.subarray(0, this.#length);
  }

  /** When nothing needs the bytes any more: they are another request's then. Idempotent. */
  release(): void {
    this.#pool.letGo(this.#length);
    this.#length = 0;
    if (this.#buffer.length > 0) this.#pool.giveBack(this.#buffer);
    this.#buffer = Buffer.alloc(0);
  }

  /**
   * The most there can be is taken at once: the system gives pages as they are written to, so that a claimed length costs
   * addresses, not memory.
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
