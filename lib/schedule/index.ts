/**
 * From chunks to one action a tick: open loop, asynchronous, overlap blend, temporal ensemble, future state; a control loop that
 * holds when actions are late and limits what is sent. Times are milliseconds, actions are in the dataset's units.
 *
 * @module semanticvla/schedule
 */

export {
  type ActionDimension,
  type ActionKind,
  type ActionSpace,
  actionSpaces,
} from './actionSpace.ts';
export { type AsynchronousOptions, asynchronous } from './asynchronous.ts';
export { type Clock, monotonicClock } from './clock.ts';
export { ControlLoop, type ControlLoopOptions, startControlLoop } from './controlLoop.ts';
export { type FutureStateOptions, futureState } from './futureState.ts';
export { type Latency, parseLatency, recordedLatency } from './latency.ts';
export type { LimitOptions } from './limits.ts';
export type {
  HoldReason,
  LimitName,
  LoopCounters,
  LoopEvent,
  SentAction,
  TimedObservation,
} from './loopEvents.ts';
export { type OpenLoopOptions, openLoop } from './openLoop.ts';
export { type BlendRule, type OverlapBlendOptions, overlapBlend } from './overlapBlend.ts';
export type {
  ActionScheduler,
  LatencyCounters,
  ScheduleCounters,
  ScheduledAction,
  ScheduleEvent,
  ScheduleOptions,
  Tick,
} from './scheduler.ts';
export { type SimulatedCall, type SimulatedPolicyOptions, simulatedPolicy } from './simulatedPolicy.ts';
export { type TemporalEnsembleOptions, temporalEnsemble } from './temporalEnsemble.ts';
export { VirtualClock } from './virtualClock.ts';
