/** The public API. Each command of the `semanticvla` command line is one of these functions. */

export type { Checkpoint, OpenCheckpointOptions, Progress } from './checkpoint/checkpoint.ts';
export { type PullOptions, type PullReport, pullCheckpoint } from './checkpoint/hubCheckpoint.ts';
export { openCheckpoint } from './checkpoint/openCheckpoint.ts';
export type { HeadName, PolicyConfig } from './checkpoint/policyConfig.ts';
export { type BenchServerOptions, benchServer, type ServerBench } from './client/benchServer.ts';
export { connectAct, connectOpenpi } from './client/connect.ts';
export type { RemoteEvent, RemoteOptions, RemotePolicy } from './client/remotePolicy.ts';
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
export { type ActionErrors, actionErrors, type DimensionError } from './evaluate/actionErrors.ts';
export {
  type EvaluateDatasetOptions,
  evaluateDataset,
  type Source as EpisodeSource,
} from './evaluate/evaluateDataset.ts';
export {
  type EpisodePrediction,
  type EpisodeResult,
  type EvaluateEpisodeOptions,
  evaluateEpisode,
} from './evaluate/evaluateEpisode.ts';
export type { Evaluation } from './evaluate/evaluation.ts';
export { evaluationPage, type PageTexts } from './evaluate/page/evaluationPage.ts';
export { type PairedChange, pairedChanges } from './evaluate/pairedChanges.ts';
export { type ExampleOptions, exampleCheckpoint } from './example/exampleCheckpoint.ts';
export { exampleEpisodes } from './example/exampleEpisodes.ts';
export { type ExportOptions, type ExportReport, exportPolicy } from './export/exportPolicy.ts';
export type { PolicySizes } from './graph/graphContext.ts';
export { type InspectReport, inspectCheckpoint } from './inspect/inspectCheckpoint.ts';
export {
  compareObservation,
  type ObservationNeeds,
  type ObservationPart,
} from './inspect/observationNeeds.ts';
export { machineRows, settingRows } from './machine/machineRows.ts';
export { readMachine } from './machine/readMachine.ts';
export type { MachineSeries, MachineState, SensorSeries, SubjectEnergy, Warning } from './machine/types.ts';
export { machineDifferences, machineWarnings } from './machine/warnings.ts';
export { type MachineWatch, watchMachine } from './machine/watchMachine.ts';
export { type GuardedPolicy, type GuardPolicyOptions, guardPolicy } from './observation/guardPolicy.ts';
export {
  type ObservationGuard,
  type ObservationGuardOptions,
  observationGuard,
} from './observation/observationGuard.ts';
export { type FolderObservation, readObservation } from './observation/readObservation.ts';
export {
  type ComparePrecisionOptions,
  comparePrecision,
  type PrecisionComparison,
} from './policy/comparePrecision.ts';
export { type ActionUnits, actionUnits } from './policy/datasetUnits.ts';
export { loadPolicy } from './policy/loadPolicy.ts';
export { resolvePlatform } from './policy/platform.ts';
export { policySizes } from './policy/policyParts.ts';
export type { LayerError, PrecisionFigures, PrecisionGate } from './policy/precisionGate.ts';
export {
  type BaselineFile,
  type MatchedBaseline,
  matchBaselines,
  readBaseline,
} from './profile/gate/baseline.ts';
export { type Condition, parseCondition } from './profile/gate/condition.ts';
export {
  type GateBaseline,
  type GatePair,
  type JudgeOptions,
  judge as judgeBench,
} from './profile/gate/judge.ts';
export { type PolicyProfile, type ProfileOptions, profilePolicy } from './profile/layers/profilePolicy.ts';
export { type BenchOptions, benchPolicies } from './profile/measure/benchPolicies.ts';
export type { BenchSubject } from './profile/measure/benchSubject.ts';
export {
  type FlightEvent,
  type FlightRecorder,
  type FlightRecorderOptions,
  startFlightRecorder,
} from './profile/recorder/flightRecorder.ts';
export { Recorder, type RecorderOptions } from './profile/recorder/recorder.ts';
export { recordLoop, recordSchedule } from './profile/recorder/recordLoop.ts';
export { recordPolicy } from './profile/recorder/recordPolicy.ts';
export { joinReports, type NamedReport } from './profile/report/joinReports.ts';
export { readReport } from './profile/report/readReport.ts';
export { writeReport } from './profile/report/writeReport.ts';
export type { Device } from './profile/roofline/devices.ts';
export {
  type EstimatedRoofline,
  type EstimateRooflineOptions,
  estimateRoofline,
  type RooflineEstimate,
} from './profile/roofline/estimateRoofline.ts';
export type { PolicyWork, StageWork } from './profile/roofline/policyWork.ts';
export type { RooflinePrecision } from './profile/roofline/roofline.ts';
export { encodeTrace } from './profile/trace/perfettoTrace.ts';
export type { Timeline } from './profile/trace/timeline.ts';
export type {
  BenchReport,
  ChunkRecord,
  Comparison,
  GateVerdict,
  LayerTime,
  ProfileReport,
  Roofline,
  RooflineMemory,
  RooflineRow,
  SelfCheck,
  StageName,
  StageTimes,
  SubjectFacts,
  SubjectResult,
  Summary,
} from './profile/types.ts';
export { loadRclnodejs, type RosNodeOptions, type RosPolicyNode, startRosNode } from './ros2/rosNode.ts';
export * from './schedule/index.ts';
export type { ServeLimits } from './serve/limits.ts';
export type { ObservationKeys } from './serve/observationMap.ts';
export type { PolicyServer } from './serve/policyServer.ts';
export { type ServeOptions, servePolicy } from './serve/servePolicy.ts';
export {
  type CompareOptions,
  compareStages,
  defaultTolerances,
  type StageComparison,
  type StageDifference,
  type StageTolerances,
} from './stages/compareStages.ts';
export { readStages, type Stages, writeStages } from './stages/stageFile.ts';
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
export type { SynthPreset } from './synth/presets.ts';
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
