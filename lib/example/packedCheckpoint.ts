/**
 * Trained policies as they lie in models/: checkpoints as training leaves them, each file compressed by itself, since most rows
 * of their vocabulary tables are zero. One is unpacked into the cache folder and opened from there like any other checkpoint.
 *
 * A cached file is used only if no one but this user and root can have written it and its SHA-256 is the one stated in the
 * package, so each call reads 24 MB. No lock is needed: each file is written beside the folder and moved into place when it is
 * complete, so another process that opens the folder meanwhile finds nothing unfinished in it.
 */

import { createHash, randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { JsonFields } from '../checkpoint/jsonFields.ts';
import { cacheFolder } from '../checkpoint/loraMerge.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { readExactly, readRegular, reason } from '../support/fileAccess.ts';
import { makeFolder } from '../support/makeFolder.ts';
import { type OnNotice, warn } from '../support/notices.ts';
import { checkSignal } from '../support/options.ts';
import { type Foreign, openOwn, putInPlace } from '../support/ownFiles.ts';

/** Where a policy is unpacked, and who is notified. */
export interface ExampleOptions {
  /** Default: $SEMANTICVLA_CACHE, else the user's cache folder. */
  readonly cacheDir?: string;
  /** Receives EXAMPLE_RENEWED when a cached file had been changed; default: a process warning. */
  readonly onNotice?: OnNotice;
  readonly signal?: AbortSignal;
}

interface PackedFile {
  /** Path relative to the checkpoint, with forward slashes. */
  readonly name: string;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

const unzip = promisify(gunzip);
/** models/ of the package; the same path from lib/ and from dist/. */
const models = fileURLToPath(new URL('../../models/', import.meta.url));
/** In bytes; the largest file has 11 MB. */
const fileCap = 64 << 20;

/**
 * Unpacks the policy of `models/NAME`; what is there already is checked.
 *
 * @returns the complete checkpoint folder, inside the cache folder
 * @throws (rejects) CHECKPOINT_FILE_MISSING or CHECKPOINT_CHANGED if the package is incomplete, CACHE_UNWRITABLE, or the signal's
 *   reason
 */
export async function packedCheckpoint(name: string, options: ExampleOptions): Promise<string> {
  checkSignal(options.signal);
  const home = join(models, name);
  const files = await packedFiles(home);
  // so that another release with other weights gets a folder of its own
  const digest = createHash('sha256').update(JSON.stringify(files)).digest('hex');
  const folder = join(resolve(cacheFolder(options)), 'models', `${name}-${digest.slice(0, 12)}`);
  for (const packed of files) {
    options.signal?.throwIfAborted();
    const file = join(folder, packed.name);
    const instead = await foundInstead(file, packed);
    if (instead === null) continue;
    if (instead !== 'absent') {
      const { expected, found } = instead;
      const message = `${file}: expected ${expected}, found ${found}. It is unpacked again.`;
      (options.onNotice ?? warn)({ code: 'EXAMPLE_RENEWED', message });
    }
    await write(home, folder, packed);
  }
  return folder;
}

async function packedFiles(home: string): Promise<PackedFile[]> {
  const manifest = join(home, 'checkpoint.json');
  const fields = await JsonFields.read(manifest, 'CHECKPOINT_FILE_MISSING', 'CHECKPOINT_CHANGED');
  const files = fields.object('files');
  return Object.keys(files.value).map((name) => {
    const stated = files.object(name);
    return { name, bytes: stated.integer('bytes', 1, fileCap), sha256: stated.string('sha256') };
  });
}

/** Returns null if the cached file is the packed one. */
async function foundInstead(file: string, { bytes, sha256 }: PackedFile): Promise<Foreign | 'absent' | null> {
  const refused: Foreign[] = [];
  try {
    const own = await openOwn(file, (why) => {
      refused.push(why);
      return new Error(why.found);
    });
    if (own === null) return 'absent';
    try {
      if (own.bytes !== bytes) return { expected: `${bytes} bytes`, found: String(own.bytes) };
      const found = digestOf(await readExactly(own.handle, 0, bytes, file, 'CHECKPOINT_CHANGED'));
      return found === sha256 ? null : { expected: `SHA-256 ${sha256}`, found };
    } finally {
      await own.handle.close();
    }
  } catch (error) {
    // otherwise the file was truncated while being read, or the disk cannot read it
    const why = refused[0] ?? { expected: 'the unpacked file', found: reason(error) };
    // ENOTDIR: the folder cannot exist, and the error of writing will say so
    return why.found === 'ENOTDIR' ? 'absent' : why;
  }
}

async function unpacked(home: string, { name, bytes, sha256 }: PackedFile): Promise<Buffer> {
  const file = join(home, 'checkpoint', `${name}.gz`);
  const codes = { missing: 'CHECKPOINT_FILE_MISSING', invalid: 'CHECKPOINT_CHANGED' } as const;
  const packed = await readRegular(file, { ...codes, cap: fileCap });
  const refuse = (found: string, cause?: unknown) =>
    new SemanticVlaError(
      'CHECKPOINT_CHANGED',
      `${file}: expected ${bytes} bytes with SHA-256 ${sha256}, found ${found}. Install the package again.`,
      { cause },
    );
  const data = await unzip(packed, { maxOutputLength: bytes }).catch((cause: unknown) => {
    throw refuse(reason(cause), cause);
  });
  const found = digestOf(data);
  if (data.length !== bytes || found !== sha256) throw refuse(`${data.length} bytes with ${found}`);
  return data;
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function write(home: string, folder: string, packed: PackedFile): Promise<void> {
  const file = join(folder, packed.name);
  const bytes = await unpacked(home, packed);
  const partial = `${folder}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await makeFolder(dirname(file), 0o700);
    await writeFile(partial, bytes, { flag: 'wx', mode: 0o600 });
    await putInPlace(partial, file, async () => (await foundInstead(file, packed)) === null);
  } catch (cause) {
    await rm(partial, { force: true }).catch(() => undefined);
    throw new SemanticVlaError(
      'CACHE_UNWRITABLE',
      `${dirname(file)}: expected a writable folder with room for a policy of 24 MB, found ${reason(cause)}. Set SEMANTICVLA_CACHE or the option cacheDir to a folder on a disk with space.`,
      { cause },
    );
  }
}
