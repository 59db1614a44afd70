/**
 * A verified plan, held open: the bytes of this descriptor are deserialized, whatever happens to its name.
 * Never read as a whole here: with baked weights a plan has 15 GB.
 */

import type { FileHandle } from 'node:fs/promises';
import { openOwnFile, partBytes, refused, sha256OfFile } from './cacheFiles.ts';

export interface ExpectedPlan {
  readonly bytes: number;
  readonly sha256: string;
}

export class PlanFile {
  readonly path: string;
  readonly byteLength: number;
  readonly #handle: FileHandle;
  #closing: Promise<void> | null = null;

  private constructor(path: string, byteLength: number, handle: FileHandle) {
    this.path = path;
    this.byteLength = byteLength;
    this.#handle = handle;
  }

  /**
   * Every byte is as expected; null when there is no file.
   *
   * @param length bytes that are read at once
   * @throws (rejects) ENGINE_REFUSED with both values
   */
  static async open(path: string, expected: ExpectedPlan, length = partBytes): Promise<PlanFile | null> {
    const file = await openOwnFile(path);
    if (file === null) return null;
    try {
      if (file.bytes !== expected.bytes) throw refused(path, `${expected.bytes} bytes`, `${file.bytes}`);
      const digest = await sha256OfFile(file, length);
      if (digest !== expected.sha256) throw refused(path, `SHA-256 ${expected.sha256}`, digest);
      return new PlanFile(path, file.bytes, file.handle);
    } catch (error) {
      await file.handle.close();
      throw error;
    }
  }

  /** For native code, which maps it. */
  get descriptor(): number {
    return this.#handle.fd;
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#handle.close();
    return this.#closing;
  }
}
