/** What a prediction says about its time, in the words of a report. */

import type { ActionChunk } from '../../types.ts';
import { stageNames } from '../stages.ts';
import type { StageName, StageTimes } from '../types.ts';

/**
 * A stage that did not run is left out, not given as zero: the instruction that was encoded before, the decoding of a frame
 * that has the policy's size already.
 *
 * @param timings of an ActionChunk
 * @returns without `total`, which the recorder measures from outside
 */
export function stageTimes(timings: ActionChunk['timings']): StageTimes {
  const stages: Partial<Record<StageName, number>> = {};
  for (const name of stageNames) {
    const ms = timings[name];
    if (ms !== undefined && name !== 'total' && name !== 'instruction') stages[name] = ms;
  }
  const { instruction, decode } = timings;
  if (instruction !== undefined && instruction > 0) stages.instruction = instruction;
  if (decode === 0) delete stages.decode;
  return stages;
}
