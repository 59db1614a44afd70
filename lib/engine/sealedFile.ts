/**
 * Native data that only saves time, kept for the next process: what TensorRT measured (timing cache), kernels that TensorRT-RTX
 * compiled. TensorRT trusts them as it trusts plans, so the same rules hold: only what this machine wrote (MAC), for
 * exactly this TensorRT and device (facts), every byte as it was (SHA-256).
 *
 * `FILE.json` is written before FILE and admits both its old and its new bytes, so that a crash at any moment cannot make a file of
 * ours look foreign.
 */

import { join } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { readOwnFile, refused, replaceFile, type WriteFile } from './cacheFiles.ts';
import { canonicalJson, sha256 } from './cacheKey.ts';
import { lockEngine } from './engineLock.ts';
import { seal, unseal } from './sidecar.ts';

/** Text by name: what the data are, and for which TensorRT and device. */
export interface SealedFacts {
  readonly kind: 'timings' | 'kernels';
  readonly [fact: string]: string;
}

/** What the cache provides for its files. */
interface Owner {
  readonly folder: string;
  readonly key: Uint8Array;
  readonly write: WriteFile;
}

/** Largest size that is read; a timing cache has a few MB, a policy's kernels tens of MB. */
const cap = 2 ** 30;
const noteCap = 2 ** 16;

/** Suffix of these files in the cache folder. */
export const sealedSuffix = '.cache';

export class SealedFile {
  readonly path: string;
  readonly #owner: Owner;
  readonly #facts: SealedFacts;

  private constructor(path: string, owner: Owner, facts: SealedFacts) {
    this.path = path;
    this.#owner = owner;
    this.#facts = facts;
  }

  /** @param path of the caller's; default: in the cache folder, named after the facts */
  static of(owner: Owner, facts: SealedFacts, path?: string): SealedFile {
    const name = sha256(Buffer.from(canonicalJson(facts), 'utf8')).slice(0, 24);
    const own = join(owner.folder, `${facts.kind}-${name}${sealedSuffix}`);
    return new SealedFile(path ?? own, owner, facts);
  }

  /** Under the lock. Null when there is none. @throws (rejects) ENGINE_REFUSED with both values */
  async read(): Promise<Uint8Array | null> {
    const bytes = await readOwnFile(this.path, cap);
    if (bytes === null) return null;
    const admitted = await this.#admitted();
    const next = `rm ${this.path}`;
    if (admitted === null) {
      throw refused(this.path, `${this.#note}, by which this machine knows its own files`, 'none', next);
    }
    const digest = sha256(bytes);
    if (!admitted.includes(digest))
      throw refused(this.path, `SHA-256 ${admitted.join(' or ')}`, digest, next);
    return bytes;
  }

  /** While `body` runs, nobody else reads or replaces the file. @throws (rejects) CACHE_UNWRITABLE, what `body` throws */
  async locked<T>(body: () => Promise<T>): Promise<T> {
    const lock = await lockEngine(`${this.path}.lock`);
    try {
      return await body();
    } finally {
      await lock.release();
    }
  }

  /** Under the lock. @throws (rejects) CACHE_UNWRITABLE */
  async replace(bytes: Uint8Array): Promise<void> {
    const { key, write } = this.#owner;
    const now = await this.#current();
    const digests = [...new Set([sha256(bytes), ...(now === null ? [] : [now])])];
    const note = { format: 1, facts: this.#facts, sha256: digests };
    await replaceFile(this.#note, Buffer.from(seal(note, key), 'utf8'), write);
    await replaceFile(this.path, bytes, write);
  }

  /** Digest of the present file, if it is ours. */
  async #current(): Promise<string | null> {
    try {
      const bytes = await this.read();
      return bytes === null ? null : sha256(bytes);
    } catch (error) {
      if (isRefusal(error)) return null;
      throw error;
    }
  }

  async #admitted(): Promise<string[] | null> {
    const text = await readOwnFile(this.#note, noteCap);
    if (text === null) return null;
    const next = `rm ${this.path} ${this.#note}`;
    const unsealed = unseal(text.toString('utf8'), this.#owner.key);
    if (!unsealed.ok) throw refused(this.#note, unsealed.expected, unsealed.found, next);
    const { format, facts, sha256: digests } = unsealed.value;
    if (format !== 1 || !Array.isArray(digests)) throw refused(this.#note, 'format 1', String(format), next);
    for (const [name, expected] of Object.entries(this.#facts)) {
      const found = (facts as Record<string, unknown> | undefined)?.[name];
      if (found !== expected)
        throw refused(this.#note, `${name} ${expected}`, `${name} ${String(found)}`, next);
    }
    return digests.map(String);
  }

  get #note(): string {
    return `${this.path}.json`;
  }
}

export function isRefusal(error: unknown): error is SemanticVlaError {
  return error instanceof SemanticVlaError && error.code === 'ENGINE_REFUSED';
}
