/**
 * Plans on disk. A plan is given out only when this machine wrote it (MAC), for exactly what is asked (identity), and every
 * byte is unchanged (SHA-256): all three before TensorRT sees it. Nothing is repaired silently: a mismatch is refused
 * with both values.
 *
 * `KEY.json` says which file holds the plan, so that renaming it is the one moment at which a new plan counts; the old one
 * is removed after it.
 */

import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder } from '../checkpoint/loraMerge.ts';
import {
  type FileBytes,
  machineKey,
  ownFolder,
  partialSuffix,
  partsOf,
  readOwnFile,
  refused,
  replaceFile,
  type WriteFile,
  writeDurably,
} from './cacheFiles.ts';
import { differingField, type EngineIdentity, engineKey, sha256 } from './cacheKey.ts';
import { type LockOptions, lockEngine } from './engineLock.ts';
import { PlanFile } from './planFile.ts';
import { type SealedFacts, SealedFile } from './sealedFile.ts';
import { decodeSidecar, type EngineCheck, encodeSidecar, type Sidecar } from './sidecar.ts';

const sidecarCap = 2 ** 20;

export interface CachedEngine {
  /** The receiver closes it. */
  readonly plan: PlanFile;
  readonly sidecar: Sidecar;
  readonly file: string;
}

export interface BuiltPlan {
  readonly plan: FileBytes;
  readonly seconds: number;
}

export interface GetOptions extends LockOptions {
  /** Build even when a plan is there. */
  readonly rebuild?: boolean;
}

export interface EngineCacheOptions {
  /** Cache folder; engines go into `engines/` in it. Default: as for merged weights. */
  readonly dir?: string;
  readonly write?: WriteFile;
}

export class EngineCache {
  readonly folder: string;
  readonly #key: Uint8Array;
  readonly #write: WriteFile;

  private constructor(folder: string, key: Uint8Array, write: WriteFile) {
    this.folder = folder;
    this.#key = key;
    this.#write = write;
  }

  /** @throws (rejects) ENGINE_REFUSED when others may write there, CACHE_UNWRITABLE */
  static async open(options: EngineCacheOptions = {}): Promise<EngineCache> {
    const folder = join(cacheFolder(options.dir === undefined ? {} : { cacheDir: options.dir }), 'engines');
    await ownFolder(folder);
    return new EngineCache(folder, await machineKey(folder), options.write ?? writeDurably);
  }

  /** The plan of exactly this identity; null when there is none. @throws (rejects) ENGINE_REFUSED */
  async load(engine: string, identity: EngineIdentity): Promise<CachedEngine | null> {
    await ownFolder(this.folder);
    const key = engineKey(engine, identity);
    const file = this.#sidecarFile(key);
    for (;;) {
      const sidecar = await this.#readSidecar(file);
      if (sidecar === null) return null;
      this.#requireIdentity(file, sidecar, engine, key, identity);
      const plan = await PlanFile.open(join(this.folder, sidecar.plan.file), sidecar.plan);
      if (plan !== null) return { plan, sidecar, file };
      // Replaced between the two reads: the new sidecar names another file. Else it is missing.
      const now = await this.#readSidecar(file);
      if (now?.plan.file === sidecar.plan.file)
        throw refused(join(this.folder, sidecar.plan.file), 'the plan', 'no file');
    }
  }

  #requireIdentity(
    file: string,
    sidecar: Sidecar,
    engine: string,
    key: string,
    identity: EngineIdentity,
  ): void {
    // the field that differs says more than the key, which is made of all of them
    if (sidecar.engine !== engine) throw refused(file, `engine ${engine}`, `engine ${sidecar.engine}`);
    const field = differingField(identity, sidecar.identity);
    if (field !== null)
      throw refused(file, `${field} ${identity[field]}`, `${field} ${sidecar.identity[field]}`);
    if (sidecar.key !== key) throw refused(file, `key ${key}`, `key ${sidecar.key}`);
  }

  /** The cached plan, or the one that `build` makes, stored. Of several callers, in any process, one builds. */
  async getOrBuild(
    engine: string,
    identity: EngineIdentity,
    build: () => Promise<BuiltPlan>,
    options: GetOptions = {},
  ): Promise<CachedEngine & { readonly isNew: boolean }> {
    const present = options.rebuild ? null : await this.load(engine, identity);
    if (present !== null) return { ...present, isNew: false };
    const key = engineKey(engine, identity);
    const lock = await lockEngine(join(this.folder, `${key}.lock`), options);
    try {
      // the previous holder of the lock may have built it
      const other = options.rebuild ? null : await this.load(engine, identity);
      if (other !== null) return { ...other, isNew: false };
      await this.#removeLeftovers(key);
      const built = await build();
      return { ...(await this.#store(engine, key, identity, built)), isNew: true };
    } finally {
      await lock.release();
    }
  }

  /** Native data beside the plans, or in a file of the caller's. */
  sealed(facts: SealedFacts, path?: string): SealedFile {
    return SealedFile.of({ folder: this.folder, key: this.#key, write: this.#write }, facts, path);
  }

  /** Records that a device ran the plan with correct results. */
  async recordCheck(engine: string, identity: EngineIdentity, check: EngineCheck): Promise<void> {
    const key = engineKey(engine, identity);
    const lock = await lockEngine(join(this.folder, `${key}.lock`));
    try {
      const file = this.#sidecarFile(key);
      const sidecar = await this.#readSidecar(file);
      if (sidecar === null) return;
      this.#requireIdentity(file, sidecar, engine, key, identity);
      const others = sidecar.checks.filter(
        ({ device, driver }) => device !== check.device || driver !== check.driver,
      );
      await this.#replaceSidecar(file, { ...sidecar, checks: [...others, check] });
    } finally {
      await lock.release();
    }
  }

  async #store(
    engine: string,
    key: string,
    identity: EngineIdentity,
    built: BuiltPlan,
  ): Promise<CachedEngine> {
    const digest = sha256(partsOf(built.plan));
    const plan = { file: `${key}.${digest.slice(0, 16)}.plan`, bytes: built.plan.byteLength, sha256: digest };
    await replaceFile(join(this.folder, plan.file), built.plan, this.#write);
    const sidecar: Sidecar = {
      format: 1,
      engine,
      key,
      identity,
      plan,
      built: { at: new Date().toISOString(), seconds: built.seconds },
      checks: [],
    };
    const file = this.#sidecarFile(key);
    await this.#replaceSidecar(file, sidecar);
    await this.#removeOldPlans(key, plan.file);
    const stored = await this.load(engine, identity);
    if (stored === null) throw refused(file, 'what was just written', 'no file');
    return stored;
  }

  async #replaceSidecar(file: string, sidecar: Sidecar): Promise<void> {
    await replaceFile(file, Buffer.from(encodeSidecar(sidecar, this.#key), 'utf8'), this.#write);
  }

  async #readSidecar(file: string): Promise<Sidecar | null> {
    const bytes = await readOwnFile(file, sidecarCap);
    if (bytes === null) return null;
    const decoded = decodeSidecar(bytes.toString('utf8'), this.#key);
    if (!decoded.ok) throw refused(file, decoded.expected, decoded.found);
    return decoded.value;
  }

  /** Removes, under the lock, what a killed builder of this plan left. */
  async #removeLeftovers(key: string): Promise<void> {
    for (const name of await readdir(this.folder)) {
      if (name.startsWith(key) && name.endsWith(partialSuffix))
        await rm(join(this.folder, name), { force: true });
    }
  }

  async #removeOldPlans(key: string, kept: string): Promise<void> {
    for (const name of await readdir(this.folder)) {
      if (name.startsWith(`${key}.`) && name.endsWith('.plan') && name !== kept)
        await rm(join(this.folder, name), { force: true });
    }
  }

  #sidecarFile(key: string): string {
    return join(this.folder, `${key}.json`);
  }
}
