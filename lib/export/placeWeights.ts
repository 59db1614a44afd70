/**
 * Puts the weight files of an exported model into its folder, as plain files. ONNX Runtime refuses links that lead out of the
 * folder, `onnx.load` refuses symbolic and hard links, TensorRT's parser accepts both; all three open plain files. Files that
 * are already plain and in place stay; all others are copied, at no cost where the file system can share blocks (btrfs, XFS),
 * else byte by byte. Links are made only on request.
 */

import { constants } from 'node:fs';
import { copyFile, link, lstat, open, realpath, rename, rm, stat, statfs, symlink } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative } from 'node:path';
import type { Progress } from '../checkpoint/checkpoint.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { openRegular, reason } from '../support/fileAccess.ts';
import { setFileTimes, syncFile } from '../support/fileHandles.ts';
import { isolated } from '../support/isolated.ts';
import { makeFolder } from '../support/makeFolder.ts';

/** A file of weights that the models refer to. */
export interface WeightFile {
  /** The name in the models, relative to their folder. */
  readonly location: string;
  /** The file to copy or link. */
  readonly file: string;
  readonly bytes: number;
  readonly how: 'in place' | 'copy' | 'hard link' | 'symbolic link';
}

export interface PlaceOptions {
  readonly link?: 'hard' | 'symbolic';
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** Subfolder for a weight file whose name is already taken by a link beside the models. */
const besideFolder = 'weights';
const blockBytes = 8 * 1024 * 1024;
/** Bytes that must remain free after copying. */
const spareBytes = 64 * 1024 * 1024;

/** @returns by file  @throws (rejects) OUTPUT_UNWRITABLE, OUTPUT_NO_SPACE, the signal's reason */
export async function placeWeights(
  files: readonly string[],
  out: string,
  options: PlaceOptions,
): Promise<ReadonlyMap<string, WeightFile>> {
  const placed = new Map<string, WeightFile>();
  const copies: WeightFile[] = [];
  const real = await realpath(out);
  for (const file of files) {
    options.signal?.throwIfAborted();
    const { size: bytes } = await stat(file);
    const inside = relative(real, join(await realpath(dirname(file)), basename(file)));
    const isInside = !inside.startsWith('..') && !isAbsolute(inside);
    const { how, wanted } = options.link
      ? { how: `${options.link} link` as const, wanted: isInside }
      : { how: 'copy' as const, wanted: isInside && (await isPlain(file)) };
    const taken = [...placed.values()].map(({ location }) => location);
    const location = wanted
      ? inside
      : freeName(isInside ? join(besideFolder, basename(file)) : basename(file), taken);
    const weight: WeightFile = { location, file, bytes, how: wanted ? 'in place' : how };
    placed.set(file, weight);
    if (weight.how === 'copy') copies.push(weight);
    else if (weight.how !== 'in place') await makeLink(weight, join(out, location));
  }
  await copyAll(copies, out, options);
  return placed;
}

/** Neither a symbolic link nor a file with further hard links, which `onnx.load` refuses as well. */
async function isPlain(file: string): Promise<boolean> {
  const info = await lstat(file);
  return info.isFile() && info.nlink === 1;
}

function freeName(name: string, taken: readonly string[]): string {
  if (!taken.includes(name)) return name;
  let n = 2;
  const numbered = () => join(dirname(name), `${n}-${basename(name)}`);
  while (taken.includes(numbered())) n += 1;
  return numbered();
}

async function makeLink({ file, how }: WeightFile, target: string): Promise<void> {
  try {
    await makeFolder(dirname(target));
    await requireFree(target, file);
    await rm(target, { force: true });
    if (how === 'symbolic link') await symlink(file, target);
    else await link(await realpath(file), target);
  } catch (cause) {
    if (cause instanceof SemanticVlaError) throw cause;
    throw new SemanticVlaError(
      'OUTPUT_UNWRITABLE',
      `${target}: expected to make a ${how} to ${file}, found ${reason(cause)}. ` +
        'Hard links need the same file system and the right to write to the file. Leave --link out: then it is copied.',
      { cause },
    );
  }
}

async function copyAll(copies: readonly WeightFile[], out: string, options: PlaceOptions): Promise<void> {
  const byBytes: WeightFile[] = [];
  for (const copy of copies) {
    options.signal?.throwIfAborted();
    const target = join(out, copy.location);
    try {
      await makeFolder(dirname(target));
    } catch (cause) {
      throw unwritable(target, cause);
    }
    // a copy left by an earlier export is kept
    if (await isCopy(target, copy.file)) continue;
    await requireFree(target, copy.file);
    if (!(await shareBlocks(copy.file, target))) byBytes.push(copy);
  }
  const total = byBytes.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total === 0) return;
  const { bavail, bsize } = await statfs(out);
  if (bavail * bsize < total + spareBytes) {
    throw new SemanticVlaError(
      'OUTPUT_NO_SPACE',
      `${out}: expected ${total + spareBytes} bytes free for a copy of the weights, found ${bavail * bsize}. Choose another disk with --out, or pass --link symbolic (which only TensorRT opens) or, on the weights' own disk, --link hard (which ONNX Runtime and TensorRT open).`,
    );
  }
  let done = 0;
  const tell = isolated('onProgress', options.onProgress);
  for (const { file, location } of byBytes) {
    await copyBytes(file, join(out, location), options.signal, (bytes) => {
      done += bytes;
      tell({ step: 'copy weights', done, total, unit: 'bytes' });
    });
  }
}

/** An existing file is replaced only if it is an earlier copy of `file` or a link to it. */
async function requireFree(target: string, file: string): Promise<void> {
  const there = await lstat(target).catch(() => null);
  if (there === null || (await isCopy(target, file))) return;
  const [aim, original] = [await stat(target).catch(() => null), await stat(file)];
  if (aim?.ino === original.ino && aim.dev === original.dev) return;
  throw new SemanticVlaError(
    'OUTPUT_UNWRITABLE',
    `${target}: expected no file, or what an earlier export put there of ${file}, found another file. Choose an empty folder with --out, or remove it.`,
  );
}

async function isCopy(target: string, file: string): Promise<boolean> {
  const copy = await lstat(target).catch(() => null);
  const original = await stat(file);
  return (
    copy?.isFile() === true &&
    copy.nlink === 1 &&
    copy.size === original.size &&
    Math.abs(copy.mtimeMs - original.mtimeMs) < 1
  );
}

const partialOf = (target: string) => `${target}.${process.pid}.partial`;

/** Returns whether the file system could copy by sharing blocks. */
async function shareBlocks(file: string, target: string): Promise<boolean> {
  const partial = partialOf(target);
  try {
    await copyFile(file, partial, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
    await finish(partial, target, file);
    return true;
  } catch {
    await rm(partial, { force: true });
    return false;
  }
}

async function copyBytes(
  file: string,
  target: string,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const partial = partialOf(target);
  const { handle: input } = await openRegular(file, { missing: 'CHECKPOINT_FILE_MISSING' });
  try {
    const output = await open(partial, 'w', 0o644);
    try {
      const buffer = Buffer.allocUnsafe(blockBytes);
      for (let at = 0; ; ) {
        signal?.throwIfAborted();
        const { bytesRead } = await input.read(buffer, 0, blockBytes, at);
        if (bytesRead === 0) break;
        for (let written = 0; written < bytesRead; )
          written += (await output.write(buffer, written, bytesRead - written, at + written)).bytesWritten;
        at += bytesRead;
        onBytes(bytesRead);
      }
      await syncFile(output);
    } finally {
      await output.close();
    }
    await finish(partial, target, file);
  } catch (cause) {
    await rm(partial, { force: true });
    signal?.throwIfAborted();
    throw unwritable(target, cause);
  } finally {
    await input.close();
  }
}

/** Renames the finished copy and gives it the original's time, by which the next export recognises it. */
async function finish(partial: string, target: string, file: string): Promise<void> {
  const { mtimeMs } = await stat(file);
  const handle = await open(partial, 'r+');
  try {
    await setFileTimes(handle, Date.now() / 1000, mtimeMs / 1000);
  } finally {
    await handle.close();
  }
  await rename(partial, target);
}

function unwritable(path: string, cause: unknown): SemanticVlaError {
  return new SemanticVlaError(
    'OUTPUT_UNWRITABLE',
    `${path}: expected to write weights there, found ${reason(cause)}. Choose another folder with --out.`,
    { cause },
  );
}
