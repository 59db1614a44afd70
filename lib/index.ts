/** The public API. */

export type { Checkpoint, OpenCheckpointOptions, Progress } from './checkpoint/checkpoint.ts';
export { openCheckpoint } from './checkpoint/openCheckpoint.ts';
export type { PolicyConfig } from './checkpoint/policyConfig.ts';
export { type ErrorCode, SemanticVlaError } from './errors.ts';
export { type ExportOptions, type ExportReport, exportPolicy } from './graph/exportPolicy.ts';
export type { Normalization, Platform, PlatformName } from './platform.ts';
export { loadPolicy } from './policy.ts';
export type {
  ActionChunk,
  ImageFrame,
  Observation,
  Policy,
  PolicyOptions,
  PredictOptions,
  StageTensor,
} from './types.ts';
