/** Golden policies as complete checkpoint folders (test/golden/README.md lists what was left out of them). */

import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expandShards, isSparseShard } from './sparseShards.ts';

export type GoldenName = 'libero-tiny' | 'aloha-tiny' | 'oft-tiny';
type AnyGolden = GoldenName | 'offgrid-tiny' | 'oft-diffusion-tiny' | 'openvla-ar-tiny';

/** Absolute path of test/golden. */
export const goldenRoot = fileURLToPath(new URL('../golden', import.meta.url));

const made = new Map<AnyGolden, string>();
let scratch: string | null = null;

/** A folder of this process, removed at exit. The first call also points the cache of merged weights into it. */
export function scratchFolder(): string {
  if (scratch === null) {
    scratch = mkdtempSync(join(tmpdir(), 'semanticvla-test-'));
    const folder = scratch;
    process.env.SEMANTICVLA_CACHE ??= join(folder, 'cache');
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  }
  return scratch;
}

/** Checkpoint folder of a golden policy, complete with tokenizers and shards. Links mostly, memoised; do not write into it. */
export function goldenCheckpoint(name: AnyGolden): string {
  const before = made.get(name);
  if (before !== undefined) return before;
  const dir = join(scratchFolder(), name);
  const parts = join(goldenRoot, name, 'checkpoint');
  linkTree(parts, dir);
  expandShards(parts, dir);
  const donor = join(goldenRoot, 'libero-tiny', 'checkpoint');
  linkMissing(donor, dir, ['tokenizer.json', 'tokenizer.model']);
  if (existsSync(join(dir, 'siglip-text-tiny'))) {
    linkMissing(join(donor, 'siglip-text-tiny'), join(dir, 'siglip-text-tiny'), ['spiece.model']);
  }
  made.set(name, dir);
  return dir;
}

/** A private copy that may be modified. */
export function goldenCopy(name: AnyGolden): string {
  const dir = mkdtempSync(join(scratchFolder(), `${name}-`));
  cpSync(goldenCheckpoint(name), dir, { recursive: true, dereference: true });
  return dir;
}

function linkTree(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    if (isSparseShard(name)) continue;
    if (statSync(join(from, name)).isDirectory()) linkTree(join(from, name), join(to, name));
    else symlinkSync(join(from, name), join(to, name));
  }
}

function linkMissing(from: string, to: string, names: readonly string[]): void {
  for (const name of names) if (!existsSync(join(to, name))) symlinkSync(join(from, name), join(to, name));
}
