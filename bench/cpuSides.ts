/** What of this program is measured on the CPU, by name. */

import type { PolicyOptions } from '../lib/types.ts';

export const cpuSides = {
  float32: { weights: 'folded' },
  mapped: { weights: 'mapped' },
  int8: { precision: 'int8' },
  'int8-llm': { precision: 'int8-llm' },
} as const satisfies Readonly<Record<string, PolicyOptions>>;
export type Side = keyof typeof cpuSides;
