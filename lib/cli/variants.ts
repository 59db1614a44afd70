/** The policies of one evaluation: checkpoints, each with the options that it is opened with. */

import { basename, resolve } from 'node:path';
import type { PolicyOptions } from '../types.ts';

export interface Variant {
  readonly checkpoint: string;
  /** How the reader knows it, unique. */
  readonly name: string;
  readonly options: PolicyOptions;
}

/** Checkpoints of the same name are told apart by their paths. */
export function variantsOf(checkpoints: readonly string[], options: PolicyOptions): readonly Variant[] {
  const names = checkpoints.map((checkpoint) => basename(resolve(checkpoint)));
  return checkpoints.map((checkpoint, i) => ({
    checkpoint,
    name: names.indexOf(names[i]!) === names.lastIndexOf(names[i]!) ? names[i]! : checkpoint,
    options,
  }));
}

export const variantNames = (variants: readonly Variant[]): string =>
  variants.map(({ name }) => name).join(', ');
