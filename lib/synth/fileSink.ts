/**
 * Writes a file front to back in large chunks: while one chunk goes to disk, the next one is made. At most `buffers` chunks
 * exist, so memory does not grow with the file. Buffer k holds file bytes [k * chunk, (k + 1) * chunk), so anything aligned in
 * the file is aligned in memory.
 */

import { type FileHandle, open } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { SemanticVlaError } from '../support/errors.ts';
import { syncFile } from '../support/fileHandles.ts';
import type { TensorFiller } from './tensorPlan.ts';

export interface FileSinkOptions {
  /** Bytes of a chunk, a multiple of 64; default 8 MiB. */
  readonly chunkBytes?: number;
  readonly signal?: AbortSignal | undefined;
  /** Called with the number of bytes just handed to the disk. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

const defaultChunkBytes = 8 << 20;
const bufferCount = 3;

/** Keeps buffers between files. Only one sink at a time may use a pool. */
export class BufferPool {
  readonly chunkBytes: number;
  readonly #buffers: Uint8Array[] = [];

  constructor(chunkBytes: number = defaultChunkBytes) {
    if (chunkBytes % 64 !== 0 || chunkBytes <= 0)
      throw new SemanticVlaError(
        'OPTION_INVALID',
        `chunkBytes: expected a positive multiple of 64, found ${chunkBytes}. Use for example ${defaultChunkBytes}.`,
      );
    this.chunkBytes = chunkBytes;
  }

  buffer(chunk: number): Uint8Array {
    const slot = chunk % bufferCount;
    this.#buffers[slot] ??= new Uint8Array(this.chunkBytes);
    return this.#buffers[slot];
  }
}

export class FileSink {
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #pool: BufferPool;
  readonly #options: FileSinkOptions;
  /** Pending writes, oldest first. */
  readonly #writes: Promise<void>[] = [];
  #position = 0;

  private constructor(handle: FileHandle, path: string, pool: BufferPool, options: FileSinkOptions) {
    this.#handle = handle;
    this.#path = path;
    this.#pool = pool;
    this.#options = options;
  }

  /** Creates `path`; it must not exist. */
  static async create(path: string, pool: BufferPool, options: FileSinkOptions = {}): Promise<FileSink> {
    return new FileSink(await open(path, 'wx'), path, pool, options);
  }

  /** Bytes accepted so far: the offset of the next byte. */
  get position(): number {
    return this.#position;
  }

  /** Appends `byteLength` bytes, made piece by piece; no piece exceeds a chunk. */
  async fill(byteLength: number, filler: TensorFiller): Promise<void> {
    const { chunkBytes } = this.#pool;
    for (let offset = 0; offset < byteLength; ) {
      const used = this.#position % chunkBytes;
      const piece = Math.min(byteLength - offset, chunkBytes - used);
      const buffer = this.#pool.buffer(Math.floor(this.#position / chunkBytes));
      filler(buffer.subarray(used, used + piece), offset);
      offset += piece;
      this.#position += piece;
      if (used + piece === chunkBytes) await this.#flush(buffer);
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.fill(bytes.length, (view, offset) => view.set(bytes.subarray(offset, offset + view.length)));
  }

  /** Writes the rest, waits for the disk and closes. Returns the size of the file. */
  async close(): Promise<number> {
    try {
      const { chunkBytes } = this.#pool;
      const used = this.#position % chunkBytes;
      if (used > 0)
        await this.#flush(this.#pool.buffer(Math.floor(this.#position / chunkBytes)).subarray(0, used));
      while (this.#writes.length > 0) await this.#writes.shift();
      await syncFile(this.#handle);
    } finally {
      await this.#handle.close();
    }
    return this.#position;
  }

  /** Gives up: waits for pending writes and closes. The caller has to remove the file. */
  async abandon(): Promise<void> {
    await Promise.allSettled(this.#writes);
    await this.#handle.close().catch(() => {});
  }

  async #flush(bytes: Uint8Array): Promise<void> {
    const start = this.#position - bytes.length;
    const write = this.#writeFully(bytes, start);
    write.catch(() => {}); // awaited below or in close(); this keeps an early failure from being an unhandled rejection
    this.#writes.push(write);
    while (this.#writes.length >= bufferCount) await this.#writes.shift();
    await nextTurn(); // give the event loop a turn between chunks even if the disk is faster than we are
    this.#options.signal?.throwIfAborted();
  }

  async #writeFully(bytes: Uint8Array, start: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, start + done);
        done += bytesWritten;
      }
    } catch (cause) {
      const full = cause instanceof Error && 'code' in cause && cause.code === 'ENOSPC';
      throw new SemanticVlaError(
        full ? 'OUTPUT_NO_SPACE' : 'OUTPUT_UNWRITABLE',
        `${this.#path}: writing ${bytes.length} bytes at ${start} failed: ${cause instanceof Error ? cause.message : cause}. ` +
          (full ? 'Free space on that disk or choose another folder.' : 'Check the disk and the folder.'),
        { cause },
      );
    }
    this.#options.onBytes?.(bytes.length);
  }
}
