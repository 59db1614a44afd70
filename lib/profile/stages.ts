/** The stages of a chunk: one list, in the order of tables, columns and metrics. What each is: `StageName` (types.ts). */
export const stageNames = [
  'total',
  'preprocess',
  'preprocessOnDevice',
  'decode',
  'resize',
  'crop',
  'normalize',
  'tokenize',
  'instruction',
  'policy',
  'enqueue',
  'h2d',
  'compute',
  'd2h',
  'unnormalize',
] as const;
