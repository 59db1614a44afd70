/** The scheduling modes as the closed loop compares them, and what the numbers of an action mean to the simulator. */

import { type ActionSpace, actionSpaces } from '../../lib/schedule/actionSpace.ts';
import { asynchronous } from '../../lib/schedule/asynchronous.ts';
import { futureState } from '../../lib/schedule/futureState.ts';
import { openLoop } from '../../lib/schedule/openLoop.ts';
import { overlapBlend } from '../../lib/schedule/overlapBlend.ts';
import type { ActionScheduler, ScheduleOptions } from '../../lib/schedule/scheduler.ts';
import { temporalEnsemble } from '../../lib/schedule/temporalEnsemble.ts';
import type { Policy } from '../../lib/types.ts';

/** LIBERO's controller, but the gripper as robosuite takes it: -1 open, 1 closed. */
export const simulatorSpace: ActionSpace = {
  name: 'robosuite',
  dimensions: actionSpaces.libero.dimensions.map((dimension) =>
    dimension.name === 'gripper' ? { ...dimension, range: [-1, 1] } : dimension,
  ),
};

export type Make = (policy: Policy, common: ScheduleOptions, chunk: number, ahead: number) => ActionScheduler;

/** `ahead`: the latency in ticks, rounded up. */
export const modes: Readonly<Record<string, Make>> = {
  'open loop': (policy, common) => openLoop(policy, common),
  'open loop, half a chunk': (policy, common, chunk) =>
    openLoop(policy, { ...common, executeHorizon: chunk >> 1 }),
  asynchronous: (policy, common) => asynchronous(policy, common),
  'blend, linear': (policy, common) => overlapBlend(policy, { ...common, rule: 'linear' }),
  'temporal ensemble': (policy, common) => temporalEnsemble(policy, common),
  'future state': (policy, common, _, ahead) => futureState(policy, { ...common, ahead }),
};
