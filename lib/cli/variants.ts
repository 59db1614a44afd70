/** The policies of one evaluation: checkpoints, each with every way in which it is to be opened. */

import { basename, resolve } from 'node:path';
import type { PolicyOptions } from '../types.ts';

export interface Variant {
  readonly checkpoint: string;
  /** How the reader knows it, unique. */
  readonly name: string;
  readonly options: PolicyOptions;
}

/** Options of which several values are compared. */
export type Several = { readonly [K in 'weights' | 'precision']?: readonly NonNullable<PolicyOptions[K]>[] };

/**
 * Every checkpoint with every combination of `several`. Checkpoints of the same name are told apart by their paths, the same
 * checkpoint by what differs.
 */
export function variantsOf(
  checkpoints: readonly string[],
  options: PolicyOptions,
  { weights, precision }: Several = {},
): readonly Variant[] {
  const names = checkpoints.map((checkpoint) => basename(resolve(checkpoint)));
  return checkpoints.flatMap((checkpoint, i) => {
    const name = names.indexOf(names[i]!) === names.lastIndexOf(names[i]!) ? names[i]! : checkpoint;
    return (weights ?? [undefined]).flatMap((how) =>
      (precision ?? [undefined]).map((type): Variant => {
        const told = [
          ...((weights?.length ?? 0) > 1 ? [how] : []),
          ...((precision?.length ?? 0) > 1 ? [type] : []),
        ];
        return {
          checkpoint,
          name: [name, ...told].join(' '),
          options: {
            ...options,
            ...(how === undefined ? {} : { weights: how }),
            ...(type === undefined ? {} : { precision: type }),
          },
        };
      }),
    );
  });
}

export const variantNames = (variants: readonly Variant[]): string =>
  variants.map(({ name }) => name).join(', ');
