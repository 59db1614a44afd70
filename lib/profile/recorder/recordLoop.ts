/** A control loop whose ticks are recorded, by its own listeners: the loop knows nothing of it. */

import type { ControlLoopOptions } from '../../schedule/controlLoop.ts';
import type { LoopEvent, SentAction } from '../../schedule/loopEvents.ts';
import type { ScheduleEvent, ScheduleOptions } from '../../schedule/scheduler.ts';
import { isolated } from '../../support/isolated.ts';
import type { Recorder } from './recorder.ts';

/**
 * Options of `startControlLoop` that record what it sends and why it holds. The loop's clock must be the default one, or
 * agree with `performance.now()`.
 *
 * Skipped ticks, and a HOLD after the robot has moved, are misses (`Recorder.onMiss`). Waiting for the first chunk of an
 * episode or of an instruction is not.
 *
 * @param options of the loop; its own `onEvent` and `act` are called too
 * @param recorder where ticks and misses are counted
 * @throws never
 */
export function recordLoop(options: ControlLoopOptions, recorder: Recorder): ControlLoopOptions {
  const { act } = options;
  const tell = isolated('onEvent of startControlLoop', options.onEvent);
  let hasMoved = false;
  return {
    ...options,
    act: (action: SentAction) => {
      recorder.sent(action.at, action.values, action.held !== null);
      if (action.held === null) {
        hasMoved = true;
        recorder.event('executed', action.at, action.at - action.observedAt!);
      }
      return act(action);
    },
    onEvent: (event: LoopEvent) => {
      const { at } = event;
      if (event.type === 'hold') {
        recorder.event('hold', at, Number.NaN, event.reason);
        if (hasMoved && event.reason !== 'stopped') recorder.miss('hold');
      } else if (event.type === 'missed') {
        recorder.event('missed', at, event.ticks);
        recorder.miss('missed tick');
      } else if (event.type === 'limited') recorder.event('limited', at, event.dimensions.length);
      else if (event.type === 'observation') recorder.event('observation refused', at);
      else if (event.type === 'clock') recorder.event('clock back', at, event.back);
      else if (event.type === 'holdLost') recorder.event('last hold lost', at);
      else {
        hasMoved = false;
        recorder.event(event.type, at);
      }
      tell(event);
    },
  };
}

/**
 * Options of a scheduler (`asynchronous(policy, recordSchedule({}, recorder))`) that record what it asks and gets.
 *
 * @param options of the scheduler; its own `onEvent` is called too
 * @param recorder where events are kept
 * @throws never
 */
export function recordSchedule<Options extends ScheduleOptions>(
  options: Options,
  recorder: Recorder,
): Options {
  const tell = isolated('onEvent of a scheduler', options.onEvent);
  return {
    ...options,
    onEvent: (event: ScheduleEvent) => {
      if (event.type === 'chunk' || event.type === 'late')
        recorder.event(event.type, event.at, event.dropped);
      else recorder.event(event.type === 'refused' ? 'chunk refused' : event.type, event.at);
      tell(event);
    },
  };
}
