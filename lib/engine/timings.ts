/**
 * TensorRT's timing cache between builds: the next build on this device need not repeat measurements. In the
 * cache folder, or in the file that the caller names (trtexec's --timingCacheFile). TensorRT-RTX measures nothing when it
 * builds and has none.
 */

import { loadAddon } from '../addon/binding.ts';
import { SemanticVlaError } from '../support/errors.ts';
import type { OnNotice } from '../support/notices.ts';
import type { EngineCache } from './engineCache.ts';
import { type FoundTensorRt, findParser } from './findTensorRt.ts';
import { isRefusal, type SealedFile } from './sealedFile.ts';

export interface TimingOptions {
  readonly tensorRt: FoundTensorRt;
  readonly cache: EngineCache;
  /** Capability and name of the device at hand. */
  readonly device: string;
  /** `off`, or a file; default: one for this TensorRT and device in the cache folder. */
  readonly timingCache?: string;
  /** A sentence about a problem that only costs time. */
  readonly onNotice?: OnNotice;
}

export class Timings {
  /** The cache to start from; empty: none. */
  readonly given: Uint8Array;
  readonly #file: SealedFile;
  readonly #options: TimingOptions;
  /** Already reported. */
  readonly #wasRefused: boolean;

  private constructor(given: Uint8Array | 'refused' | null, file: SealedFile, options: TimingOptions) {
    this.#wasRefused = given === 'refused';
    this.given = given instanceof Uint8Array ? given : new Uint8Array();
    this.#file = file;
    this.#options = options;
  }

  /**
   * Null: none is kept. A damaged or foreign default file is replaced, with a notice; one that was named is
   * refused.
   *
   * @throws (rejects) ENGINE_REFUSED, OPTION_INVALID
   */
  static async open(options: TimingOptions): Promise<Timings | null> {
    const { tensorRt, cache, device, timingCache } = options;
    if (timingCache === 'off') return null;
    if (tensorRt.family === 'rtx1') {
      if (timingCache === undefined) return null;
      throw new SemanticVlaError(
        'OPTION_INVALID',
        `timingCache: expected none with TensorRT-RTX ${tensorRt.version}, which measures nothing when it builds, found ${timingCache}. The kernels that it compiles when it runs are kept in the cache folder by themselves.`,
      );
    }
    const { family: flavour, version } = tensorRt;
    const file = cache.sealed({ kind: 'timings', flavour, version, device }, timingCache);
    return new Timings(await file.locked(() => current(file, options)), file, options);
  }

  /** Stores it, merged with what another build wrote meanwhile. @param refused why TensorRT did not use `given`; empty: it did */
  async keep(measured: Uint8Array, refused: string): Promise<void> {
    const { onNotice, timingCache } = this.#options;
    if (refused !== '')
      onNotice?.({ code: 'TIMING_CACHE_RENEWED', message: `${this.#file.path}: started anew: ${refused}` });
    if (measured.byteLength === 0) return;
    try {
      await this.#file.locked(() => this.#keepUnderLock(measured, refused !== ''));
    } catch (error) {
      // the engine is built; only the next build takes longer
      if (timingCache !== undefined) throw error;
      onNotice?.({
        code: 'TIMING_CACHE_NOT_KEPT',
        message: `The timing cache was not kept: ${(error as Error).message}`,
      });
    }
  }

  async #keepUnderLock(measured: Uint8Array, isNew: boolean): Promise<void> {
    const { onNotice, ...silent } = this.#options;
    const there = isNew ? null : await current(this.#file, this.#wasRefused ? silent : this.#options);
    if (!(there instanceof Uint8Array)) return this.#file.replace(measured);
    const isOurs = Buffer.compare(there, this.given) === 0;
    const all = isOurs ? measured : await this.#combine(there, measured);
    if (Buffer.compare(there, all) !== 0) await this.#file.replace(all);
  }

  #combine(first: Uint8Array, second: Uint8Array): Promise<Uint8Array> {
    const { tensorRt } = this.#options;
    const { library, module } = tensorRt;
    return loadAddon().combineTimingCaches({ library, module, parser: findParser(tensorRt), first, second });
  }
}

async function current(file: SealedFile, options: TimingOptions): Promise<Uint8Array | 'refused' | null> {
  try {
    return await file.read();
  } catch (error) {
    if (options.timingCache !== undefined || !isRefusal(error)) throw error;
    options.onNotice?.({
      code: 'TIMING_CACHE_RENEWED',
      message: `The timing cache is started anew. ${error.message}`,
    });
    return 'refused';
  }
}
