/** The stages that a recorder keeps, in the order of its columns. */

import type { StageName } from '../types.ts';

export const recordedStages = [
  'total',
  'preprocess',
  'preprocessOnDevice',
  'decode',
  'resize',
  'crop',
  'tokenize',
  'normalize',
  'instruction',
  'policy',
  'enqueue',
  'h2d',
  'compute',
  'd2h',
  'unnormalize',
] as const satisfies readonly StageName[];

/** A stage that is missing in the tuple would silently not be recorded. */
type Missing = Exclude<StageName, (typeof recordedStages)[number]>;
const allAreRecorded: [Missing] extends [never] ? true : never = true;
void allAreRecorded;
