/**
 * The link between supervisor and engine: framed messages on a socket pair, with arrays either inline (`pipe`) or in shared
 * memory (`shared`). Both ends run the same code.
 *
 * A frame is: u32 length of the JSON, u32 length of the inline bytes, the JSON, the inline bytes; all little-endian. The JSON
 * is `[message, [[dtype, elements], ...]]`; arrays follow one another, each at a multiple of 8 bytes. A frame whose JSON is
 * `[]` is skipped: its message turned out not to be sendable.
 */

import type { Socket } from 'node:net';
import type { WireArray } from './engineMessages.ts';
import { SharedRegion } from './sharedFile.ts';

/** How frames reach the engine process. */
export type TransportName = 'shared' | 'pipe';

const constructors = { u8: Uint8Array, i32: Int32Array, f32: Float32Array, f64: Float64Array } as const;
type DtypeName = keyof typeof constructors;

/** Where the engine's half of the shared file begins. The file is sparse: the distance costs nothing. */
const engineHalf = 2 ** 32;
const headerBytes = 8;
const zeros = new Uint8Array(8);
const align = (bytes: number): number => (bytes + 7) & ~7;

/** From this size on, the other side is woken before the arrays are copied, since copying takes as long as waking up. */
const wakeBytes = 64 * 2 ** 10;

/** A longer message is none of ours. */
const longestJson = 64 * 2 ** 20;
const longestBody = 2 ** 32;

export interface LinkOptions {
  /** Descriptor of the shared file; null for the transport `pipe`. */
  readonly sharedFd: number | null;
  readonly side: 'supervisor' | 'engine';
}

export class EngineLink<Out, In> {
  readonly #socket: Socket;
  readonly #mine: SharedRegion | null;
  readonly #theirs: SharedRegion | null;
  /** Memory for the arrays of a message, reused for the next; null: each message gets its own. */
  #kept: Buffer | null;
  readonly #header = new Uint8Array(headerBytes);
  readonly #onMessage: (message: In, arrays: readonly WireArray[]) => void;
  readonly #onBroken: (error: Error) => void;
  #part: 'header' | 'json' | 'body' = 'header';
  #target: Uint8Array = this.#header;
  #filled = 0;
  #json: Uint8Array = this.#header;
  #bodyBytes = 0;

  constructor(
    socket: Socket,
    options: LinkOptions,
    onMessage: (message: In, arrays: readonly WireArray[]) => void,
    onBroken: (error: Error) => void,
  ) {
    const { sharedFd, side } = options;
    // The engine answers before the next call comes, so it can reuse memory; the supervisor's results belong to the caller.
    this.#kept = side === 'engine' ? Buffer.alloc(0) : null;
    const [mine, theirs] = side === 'supervisor' ? [0, engineHalf] : [engineHalf, 0];
    this.#socket = socket;
    this.#mine = sharedFd === null ? null : new SharedRegion(sharedFd, mine);
    this.#theirs = sharedFd === null ? null : new SharedRegion(sharedFd, theirs);
    this.#onMessage = onMessage;
    this.#onBroken = onBroken;
    socket.on('data', (bytes: Buffer) => this.#take(bytes));
  }

  /**
   * The arrays are copied before this returns. With `shared`, arrays of an earlier message may be overwritten, so a side sends
   * arrays only after the other has answered the previous ones.
   * @throws RUNTIME_FAILED if shared memory is full
   */
  send(message: Out, arrays: readonly WireArray[]): void {
    const shapes = arrays.map((array) => [dtypeOf(array), array.length] as const);
    const json = Buffer.from(JSON.stringify([message, shapes]));
    const body = arrays.reduce((sum, { byteLength }) => sum + align(byteLength), 0);
    const inline = this.#mine === null ? body : 0;
    const frame = Buffer.allocUnsafeSlow(headerBytes + json.length + inline);
    frame.writeUInt32LE(json.length, 0);
    frame.writeUInt32LE(inline, 4);
    frame.set(json, headerBytes);
    const parts = arrays.flatMap((array) => {
      const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
      const padding = align(bytes.length) - bytes.length;
      return padding === 0 ? [bytes] : [bytes, zeros.subarray(0, padding)];
    });
    if (this.#mine !== null) {
      this.#sendShared(this.#mine, frame, body, parts);
      return;
    }
    let offset = headerBytes + json.length;
    for (const bytes of parts) {
      frame.set(bytes, offset);
      offset += bytes.length;
    }
    this.#write(frame);
  }

  /** @param bytes of all parts */
  #sendShared(region: SharedRegion, frame: Buffer, bytes: number, parts: readonly Uint8Array[]): void {
    const early = bytes >= wakeBytes ? headerBytes : 0;
    if (early > 0) this.#write(frame.subarray(0, early));
    try {
      region.write(parts);
    } catch (error) {
      if (early > 0) this.#write(Buffer.from('[]'.padEnd(frame.length - early)));
      throw error;
    }
    this.#write(frame.subarray(early));
  }

  #write(bytes: Buffer): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes);
  }

  #take(bytes: Uint8Array): void {
    let from = 0;
    while (from < bytes.length) {
      const n = Math.min(bytes.length - from, this.#target.length - this.#filled);
      this.#target.set(bytes.subarray(from, from + n), this.#filled);
      this.#filled += n;
      from += n;
      if (this.#filled < this.#target.length) return;
      try {
        this.#advance();
      } catch (error) {
        this.#socket.destroy();
        this.#onBroken(error instanceof Error ? error : new Error(String(error)));
        return;
      }
    }
  }

  /** `#target` is full. */
  #advance(): void {
    this.#filled = 0;
    if (this.#part === 'header') {
      const view = new DataView(this.#header.buffer);
      const jsonBytes = view.getUint32(0, true);
      this.#bodyBytes = view.getUint32(4, true);
      if (jsonBytes === 0 || jsonBytes > longestJson || this.#bodyBytes >= longestBody) {
        throw new Error(`a frame of ${jsonBytes} + ${this.#bodyBytes} bytes`);
      }
      this.#part = 'json';
      this.#target = new Uint8Array(jsonBytes);
    } else if (this.#part === 'json') {
      this.#json = this.#target;
      if (this.#bodyBytes === 0) {
        this.#deliver(null);
      } else {
        this.#part = 'body';
        this.#target = Buffer.allocUnsafeSlow(this.#bodyBytes);
      }
    } else {
      this.#deliver(this.#target);
    }
  }

  #deliver(body: Uint8Array | null): void {
    this.#part = 'header';
    this.#target = this.#header;
    const sent: unknown = JSON.parse(Buffer.from(this.#json).toString());
    if (!Array.isArray(sent)) throw new Error('a frame that holds no list');
    if (sent.length === 0) return;
    const [message, given] = sent as [In, unknown];
    const shapes = checkedShapes(given);
    const lengths = shapes.map(([dtype, length]) => length * constructors[dtype].BYTES_PER_ELEMENT);
    const wanted = lengths.reduce((sum, n) => sum + align(n), 0);
    let bytes = body;
    if (bytes === null) {
      if (wanted > 0 && this.#theirs === null) throw new Error(`${wanted} bytes of arrays that did not come`);
      if (wanted > 0) this.#theirs!.expect(wanted);
      bytes = this.#memory(wanted);
      if (wanted > 0) this.#theirs!.read(bytes);
    } else if (wanted !== bytes.length) {
      throw new Error(`arrays of ${wanted} bytes in a frame with ${bytes.length}`);
    }
    const { buffer, byteOffset } = bytes;
    let offset = 0;
    const arrays = shapes.map(([dtype, length], i) => {
      const array = new constructors[dtype](buffer as ArrayBuffer, byteOffset + offset, length);
      offset += align(lengths[i]!);
      return array;
    });
    this.#onMessage(message, arrays);
  }

  /**
   * Separate from the shared memory, which the next message overwrites. Allocating fresh pages would cost as much as the copy.
   */
  #memory(bytes: number): Buffer {
    if (this.#kept === null) return Buffer.allocUnsafeSlow(bytes);
    if (this.#kept.length < bytes) this.#kept = Buffer.allocUnsafeSlow(bytes);
    return this.#kept.subarray(0, bytes);
  }
}

/** `[[dtype, elements], ...]` as the other side wrote it. */
function checkedShapes(given: unknown): readonly (readonly [DtypeName, number])[] {
  if (!Array.isArray(given)) throw new Error('a frame without a list of arrays');
  for (const shape of given as unknown[]) {
    const [dtype, length] = Array.isArray(shape) ? (shape as unknown[]) : [];
    const known = typeof dtype === 'string' && Object.hasOwn(constructors, dtype);
    if (!known || !Number.isSafeInteger(length) || (length as number) < 0)
      throw new Error('an array of invalid type or length');
  }
  return given as (readonly [DtypeName, number])[];
}

function dtypeOf(array: WireArray): DtypeName {
  if (array instanceof Uint8Array) return 'u8';
  if (array instanceof Int32Array) return 'i32';
  if (array instanceof Float32Array) return 'f32';
  return 'f64';
}
