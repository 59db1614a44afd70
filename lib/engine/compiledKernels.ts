/**
 * Kernels that TensorRT-RTX compiled for this device when an engine ran, kept beside the plan: the next session starts without
 * compiling them again. TensorRT 10 and 11 compile when they build and have none.
 */

import type { NativeDevice } from '../addon/binding.ts';
import type { OnNotice } from '../support/notices.ts';
import type { CachedEngines } from './cachedEngines.ts';
import { sha256 } from './cacheKey.ts';
import type { EngineCache } from './engineCache.ts';
import { type EngineName, engineNames, type PerEngine } from './engineModels.ts';
import type { FoundTensorRt } from './findTensorRt.ts';
import { isRefusal, type SealedFile } from './sealedFile.ts';

export interface KernelOptions {
  readonly tensorRt: Pick<FoundTensorRt, 'family' | 'version'>;
  readonly device: Pick<NativeDevice, 'name' | 'uuid'>;
  readonly cache: EngineCache;
  readonly onNotice?: OnNotice;
}

interface Found {
  readonly bytes: Uint8Array;
  /** Why those that were given were not used; empty: they were. */
  readonly refused: string;
}

export class KernelStore {
  /** By engine; empty: none are known. */
  readonly given: Readonly<Record<EngineName, Uint8Array>>;
  readonly #files: ReadonlyMap<EngineName, SealedFile>;
  readonly #options: KernelOptions;

  private constructor(
    given: Record<EngineName, Uint8Array>,
    files: ReadonlyMap<EngineName, SealedFile>,
    options: KernelOptions,
  ) {
    this.given = given;
    this.#files = files;
    this.#options = options;
  }

  /** Null: this TensorRT keeps none. Damaged or foreign kernels are left out, with a notice. */
  static async open(
    engines: PerEngine<Pick<CachedEngines['policy'], 'sidecar'>>,
    options: KernelOptions,
  ): Promise<KernelStore | null> {
    const { tensorRt, device, cache } = options;
    if (tensorRt.family !== 'rtx1') return null;
    const files = new Map<EngineName, SealedFile>();
    const none = new Uint8Array();
    const given: Record<EngineName, Uint8Array> = { instruction: none, policy: none, denoiser: none };
    for (const name of engineNames) {
      const engine = engines[name];
      if (engine === null) continue;
      const file = cache.sealed({
        kind: 'kernels',
        plan: engine.sidecar.plan.sha256,
        version: tensorRt.version,
        device: `${device.name} ${device.uuid}`,
      });
      files.set(name, file);
      given[name] = (await file.locked(() => current(file, options))) ?? new Uint8Array();
    }
    return new KernelStore(given, files, options);
  }

  /** Stores those of a session that ends. Never rejects: they only save time; a failure becomes a notice. */
  async keep(kernels: Readonly<Record<EngineName, Found>>): Promise<void> {
    const { onNotice } = this.#options;
    for (const [name, file] of this.#files) {
      const { bytes, refused } = kernels[name];
      if (refused !== '')
        onNotice?.({ code: 'KERNELS_RENEWED', message: `${file.path}: started anew: ${refused}` });
      if (bytes.byteLength === 0 || sha256(bytes) === sha256(this.given[name])) continue;
      try {
        await file.locked(() => file.replace(bytes));
      } catch (error) {
        onNotice?.({
          code: 'KERNELS_NOT_KEPT',
          message: `Compiled kernels were not kept: ${(error as Error).message}`,
        });
      }
    }
  }
}

async function current(file: SealedFile, { onNotice }: KernelOptions): Promise<Uint8Array | null> {
  try {
    return await file.read();
  } catch (error) {
    if (!isRefusal(error)) throw error;
    onNotice?.({ code: 'KERNELS_RENEWED', message: `Compiled kernels are made anew. ${error.message}` });
    return null;
  }
}
