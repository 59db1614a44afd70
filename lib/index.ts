/**
 * The public API: policies, checkpoints, observations, recordings. Each command of the `semanticvla` command line is one of
 * these functions. Everything of the other rooms (`semanticvla/serve`, `/client`, `/schedule`, `/profile`, `/ros2`) is here too.
 *
 * @module semanticvla
 */

export type {
  Checkpoint,
  CheckpointSources,
  DatasetStatistics,
  OpenCheckpointOptions,
  Progress,
  TokenizerFiles,
} from './checkpoint/checkpoint.ts';
export { type PullOptions, type PullReport, pullCheckpoint } from './checkpoint/hubCheckpoint.ts';
export { openCheckpoint } from './checkpoint/openCheckpoint.ts';
export type {
  HeadConfig,
  HeadName,
  LlamaConfig,
  PixelNormalization,
  PolicyConfig,
  PolicyFamily,
  VitConfig,
} from './checkpoint/policyConfig.ts';
export * from './client/index.ts';
export { type ColumnOptions, chooseColumns, type PolicyNeeds } from './dataset/columns.ts';
export type {
  Columns,
  Dataset,
  Episode,
  FeatureKeys,
  Features,
  GripperKind,
  RecordedObservation,
  Turn,
} from './dataset/dataset.ts';
export { openDataset } from './dataset/openDataset.ts';
export { readEpisode } from './dataset/readEpisode.ts';
export type { Check, CheckStatus } from './doctor/check.ts';
export {
  type DoctorOptions,
  type DoctorReport,
  diagnose,
} from './doctor/diagnose.ts';
export type { HorizonError } from './evaluate/actionErrors.ts';
export { type ActionErrors, actionErrors, type DimensionError } from './evaluate/actionErrors.ts';
export type { Units } from './evaluate/evaluateDataset.ts';
export {
  type EvaluateDatasetOptions,
  evaluateDataset,
  type Source as EpisodeSource,
} from './evaluate/evaluateDataset.ts';
export type { EvaluatedChunk } from './evaluate/evaluateEpisode.ts';
export {
  type EpisodePrediction,
  type EpisodeResult,
  type EvaluateEpisodeOptions,
  evaluateEpisode,
} from './evaluate/evaluateEpisode.ts';
export type { Evaluation } from './evaluate/evaluation.ts';
export { evaluationPage, type PageTexts } from './evaluate/page/evaluationPage.ts';
export type { Counted } from './evaluate/pairedChanges.ts';
export { type PairedChange, pairedChanges } from './evaluate/pairedChanges.ts';
export type { KnownPrediction } from './evaluate/resultsFile.ts';
export { exampleCheckpoint } from './example/exampleCheckpoint.ts';
export { exampleEpisodes } from './example/exampleEpisodes.ts';
export type { ExampleOptions } from './example/packedCheckpoint.ts';
export type { ExportedModel } from './export/exportPolicy.ts';
export { type ExportOptions, type ExportReport, exportPolicy } from './export/exportPolicy.ts';
export type { WeightFile } from './export/placeWeights.ts';
export type { PolicySizes } from './graph/graphContext.ts';
export type { IgnoredFile, TokenBudget } from './inspect/inspectCheckpoint.ts';
export { type InspectReport, inspectCheckpoint } from './inspect/inspectCheckpoint.ts';
export type { MemoryEstimate } from './inspect/memory.ts';
export {
  compareObservation,
  type ObservationNeeds,
  type ObservationPart,
} from './inspect/observationNeeds.ts';
export type { PartSize } from './inspect/parts.ts';
export type { MachineRow } from './machine/machineRows.ts';
export { machineRows, settingRows } from './machine/machineRows.ts';
export type { ReadMachineOptions } from './machine/readMachine.ts';
export { readMachine } from './machine/readMachine.ts';
export type {
  ClockRange,
  MachineSampling,
  MachineSeries,
  MachineSnapshot,
  MachineState,
  Reading,
  SensorSeries,
  SubjectEnergy,
  Warning,
} from './machine/types.ts';
export { machineDifferences, machineWarnings } from './machine/warnings.ts';
export type { RunTimes, WatchMachineOptions } from './machine/watchMachine.ts';
export { type MachineWatch, watchMachine } from './machine/watchMachine.ts';
export { type GuardedPolicy, type GuardPolicyOptions, guardPolicy } from './observation/guardPolicy.ts';
export {
  type ObservationGuard,
  type ObservationGuardOptions,
  observationGuard,
} from './observation/observationGuard.ts';
export { type FolderObservation, readObservation } from './observation/readObservation.ts';
export { type ClosedLoopFigures, readClosedLoop } from './policy/closedLoop.ts';
export {
  type ComparePrecisionOptions,
  comparePrecision,
  type PrecisionComparison,
} from './policy/comparePrecision.ts';
export { type ActionUnits, actionUnits } from './policy/datasetUnits.ts';
export type { ObservedTask } from './policy/layerErrors.ts';
export { loadPolicy } from './policy/loadPolicy.ts';
export type { PlatformOptions } from './policy/platform.ts';
export { resolvePlatform } from './policy/platform.ts';
export { policySizes } from './policy/policyParts.ts';
export type { LayerError, PrecisionFigures, PrecisionGate } from './policy/precisionGate.ts';
export * from './profile/index.ts';
export * from './ros2/index.ts';
export * from './schedule/index.ts';
export * from './serve/index.ts';
export {
  type CompareOptions,
  compareStages,
  defaultTolerances,
  type StageComparison,
  type StageDifference,
  type StageTolerances,
} from './stages/compareStages.ts';
export { readStages, type Stages, writeStages } from './stages/stageFile.ts';
export type { Backoff } from './supervise/backoff.ts';
export type { LossReason } from './supervise/engineChild.ts';
export type { TransportName } from './supervise/engineLink.ts';
export type { EngineSource } from './supervise/engineMessages.ts';
export type {
  EngineCounters,
  EngineEvent,
  EngineState,
  SupervisedPolicy,
} from './supervise/supervisedPolicy.ts';
export { type SuperviseOptions, superviseEngine } from './supervise/superviseEngine.ts';
export { type ErrorCode, SemanticVlaError } from './support/errors.ts';
export type { Notice, NoticeCode, OnNotice } from './support/notices.ts';
export type { SynthOverrides } from './synth/overrides.ts';
export type { SynthPreset, SynthSpec } from './synth/presets.ts';
export type { FrameSize } from './synth/randomObservation.ts';
export { type SynthOptions, type SynthReport, synthesizeCheckpoint } from './synth/synthesize.ts';
export { liberoGripper } from './transforms/actions.ts';
export type {
  ActionChunk,
  ImageFrame,
  Normalization,
  Observation,
  Platform,
  PlatformName,
  Policy,
  PolicyOptions,
  PredictOptions,
  StageTensor,
} from './types.ts';
export { drawPrediction, type Prediction } from './view/drawPrediction.ts';
export { patchScores } from './view/patchScores.ts';
export { type KeptPatchesView, renderKeptPatches } from './view/renderKeptPatches.ts';
