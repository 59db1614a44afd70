/**
 * Measuring: latency of policies side by side, layers, recorders of a running robot, reports, the regression gate, rooflines.
 * Times are milliseconds unless a name says otherwise.
 *
 * @module semanticvla/profile
 */

export { type BaselineFile, type MatchedBaseline, matchBaselines, readBaseline } from './gate/baseline.ts';
export { type Condition, parseCondition } from './gate/condition.ts';
export {
  type GateBaseline,
  type GatePair,
  type JudgeOptions,
  judge as judgeBench,
} from './gate/judge.ts';
export type { GraphName } from './layers/blocks.ts';
export { type PolicyProfile, type ProfileOptions, profilePolicy } from './layers/profilePolicy.ts';
export { type BenchOptions, benchPolicies } from './measure/benchPolicies.ts';
export type { BenchSubject } from './measure/benchSubject.ts';
export {
  type FlightEvent,
  type FlightRecorder,
  type FlightRecorderOptions,
  startFlightRecorder,
} from './recorder/flightRecorder.ts';
export { Recorder, type RecorderOptions, type Recording } from './recorder/recorder.ts';
export { recordLoop, recordSchedule } from './recorder/recordLoop.ts';
export { recordPolicy } from './recorder/recordPolicy.ts';
export type { ChunkRows, EventRows } from './recorder/rings.ts';
export { joinReports, type NamedReport } from './report/joinReports.ts';
export { readReport } from './report/readReport.ts';
export { writeReport } from './report/writeReport.ts';
export type { Device, PeakKind } from './roofline/devices.ts';
export {
  type EstimatedRoofline,
  type EstimateRooflineOptions,
  estimateRoofline,
  type RooflineEstimate,
} from './roofline/estimateRoofline.ts';
export type { PolicyWork, StageWork } from './roofline/policyWork.ts';
export type { RooflinePrecision } from './roofline/roofline.ts';
export { encodeTrace } from './trace/perfettoTrace.ts';
export type { CounterTrack, Slice, SliceTrack, Timeline } from './trace/timeline.ts';
export type {
  BenchReport,
  BlockTime,
  ChunkRecord,
  Comparison,
  GateVerdict,
  GraphProfile,
  LayerTime,
  ProfileReport,
  Roofline,
  RooflineMemory,
  RooflineRow,
  SelfCheck,
  StageName,
  StageShare,
  StageTimes,
  SubjectFacts,
  SubjectResult,
  Summary,
  Timed,
} from './types.ts';
