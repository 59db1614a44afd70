/** Timing caches and compiled kernels in the cache folder: how many, and whether they will be used. */

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../engine/cacheKey.ts';
import { type SealedFacts, sealedSuffix } from '../engine/sealedFile.ts';
import { unseal } from '../engine/sidecar.ts';
import type { Check } from './check.ts';

interface Wording {
  readonly name: string;
  readonly none: string;
  readonly anew: string;
}

const wordings: Readonly<Record<SealedFacts['kind'], Wording>> = {
  timings: {
    name: 'timing cache',
    none: 'none; TensorRT 10 and 11 make one when they build, which makes the next build shorter',
    anew: 'the next build measures anew',
  },
  kernels: {
    name: 'compiled kernels',
    none: 'none; TensorRT-RTX leaves them when a policy closes, which makes the next start shorter',
    anew: 'the next start compiles anew',
  },
};

/** One line each. No fault in them keeps a policy from running. `folder` is that of merged weights. */
export function checkSealedFiles(folder: string): Check[] {
  const engines = join(folder, 'engines');
  const kinds = Object.keys(wordings) as SealedFacts['kind'][];
  return kinds.map((kind) => {
    const { name, none, anew } = wordings[kind];
    const files = names(engines).filter((file) => file.startsWith(`${kind}-`) && file.endsWith(sealedSuffix));
    const faults = files.flatMap((file) => fault(engines, file) ?? []);
    const counted = `${files.length} in ${engines}`;
    const found =
      files.length === 0 ? none : faults.length === 0 ? counted : `${counted}; ${faults.join('; ')}; ${anew}`;
    return { name, status: 'ok', found, fix: null };
  });
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** A FIFO would never end. */
function regular(path: string): Buffer {
  if (!statSync(path).isFile()) throw new Error('no regular file');
  return readFileSync(path);
}

/** Why it will not be used; null: it will. */
function fault(folder: string, file: string): string | null {
  try {
    const note = regular(join(folder, `${file}.json`)).toString('utf8');
    const unsealed = unseal(note, regular(join(folder, 'machine.key')));
    if (!unsealed.ok) return `${file}.json: expected ${unsealed.expected}, found ${unsealed.found}`;
    const digest = sha256(regular(join(folder, file)));
    const { sha256: admitted } = unsealed.value;
    return Array.isArray(admitted) && admitted.includes(digest) ? null : `${file} was changed`;
  } catch (error) {
    return `${file}: ${(error as Error).message}`;
  }
}
