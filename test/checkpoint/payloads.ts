/** How hostile torch archives are described and tried. Only for tests. */

import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { readTorchArchive } from '../../lib/checkpoint/torchArchive.ts';
import { type ErrorCode, SemanticVlaError } from '../../lib/support/errors.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { dict, type Part, pickle, tensor, text } from './pickleAssembler.ts';
import { type TorchParts, torchArchive, type ZipPart } from './zipAssembler.ts';

export const canary = (): string => join(scratchFolder(), 'canary');
export const valid = pickle(dict({ w: tensor() }));
export const shell = (): Part => text(`touch ${canary()}`);
export const source = (): Part => text(`open(${JSON.stringify(canary())}, 'w')`);

export interface Payload {
  readonly name: string;
  readonly code: ErrorCode;
  readonly make: () => Buffer;
  /** Expected in the message. */
  readonly names?: RegExp;
}

/** A pickle refused because of what it would do. */
export function forbidden(name: string, body: () => Part, names?: RegExp, protocol = 2): Payload {
  return {
    name,
    code: 'TORCH_ARCHIVE_FORBIDDEN',
    make: () => torchArchive({ pickle: pickle(body(), protocol) }),
    ...(names === undefined ? {} : { names }),
  };
}

/** A pickle refused because it is broken. */
export function broken(name: string, body: Part, names?: RegExp, protocol = 2): Payload {
  return { ...forbidden(name, () => body, names, protocol), code: 'TORCH_ARCHIVE_INVALID' };
}

/** An archive refused whatever its pickle contains. */
export function invalid(name: string, parts: Partial<TorchParts> | (() => Buffer), names?: RegExp): Payload {
  const make = typeof parts === 'function' ? parts : () => torchArchive({ pickle: valid, ...parts });
  return { name, code: 'TORCH_ARCHIVE_INVALID', make, ...(names === undefined ? {} : { names }) };
}

/** Changes the entry whose name ends like this. */
export function change(ending: string, changes: Partial<ZipPart>): Partial<TorchParts> {
  return {
    edit: (parts) => parts.map((part) => (part.name.endsWith(ending) ? { ...part, ...changes } : part)),
  };
}

/** What was wrong with how the payload was handled; null if it was refused as it should be. */
async function complaint(payload: Payload, index: number): Promise<string | null> {
  const file = join(scratchFolder(), `payload-${index}.pt`);
  writeFileSync(file, payload.make());
  const before = process.memoryUsage().rss;
  const started = process.cpuUsage();
  const error: unknown = await readTorchArchive(file).then(
    () => null,
    (reason: unknown) => reason,
  );
  const { user, system } = process.cpuUsage(started);
  const grown = process.memoryUsage().rss - before;
  rmSync(file);
  if (!(error instanceof SemanticVlaError)) return `${payload.name}: ended with ${String(error)}`;
  const isWorded = error.message.includes(file) && (payload.names ?? /again\./).test(error.message);
  if (error.code !== payload.code || !isWorded) return `${payload.name}: ${error.code}: ${error.message}`;
  // processor time, which does not depend on other load: a bomb takes minutes, the slowest payload a quarter of a second
  if (user + system > 5e6) return `${payload.name}: took ${(user + system) / 1e6} s of the processor`;
  // The file itself (5 MB at most) and what the garbage collector has not yet freed.
  return grown > 128 * 2 ** 20 ? `${payload.name}: memory grew by ${grown} bytes` : null;
}

export async function requireRefused(list: readonly Payload[]): Promise<void> {
  const complaints: string[] = [];
  for (const [index, payload] of list.entries()) {
    const text = await complaint(payload, index);
    if (text !== null) complaints.push(text);
  }
  assert.is(complaints.length, 0, complaints.join('\n'));
}
