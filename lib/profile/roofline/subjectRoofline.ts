/** The roofline of a measured subject, for the device that it ran on or another one by name. */

import type { Architecture } from '../../engine/presetArchitecture.ts';
import type { MachineState } from '../../machine/types.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import { stageOfBlock } from '../layers/blocks.ts';
import type { LayerTime, Roofline, SubjectResult } from '../types.ts';
import { type Device, devices, findDevice, recogniseDevice } from './devices.ts';
import { policyWork, type WorkSizes, type WorkStage, workStages } from './policyWork.ts';
import { rooflineOf } from './roofline.ts';

export interface SubjectRooflineOptions {
  /** A name from the device table; default: the GPU at hand. */
  readonly device?: string;
  /** Of the same subject: stages get their share of the measured time. */
  readonly layers?: readonly LayerTime[];
}

/**
 * @param sizes what the checkpoint does not hold (../../policy/policyParts.ts); the prompt's length is the subject's
 * @throws OPTION_INVALID unknown device; OPTION_REQUIRED the GPU at hand is in no table
 */
export function subjectRoofline(
  architecture: Architecture,
  sizes: Omit<WorkSizes, 'promptTokens'>,
  result: SubjectResult,
  machine: MachineState,
  { device, layers = [] }: SubjectRooflineOptions = {},
): Roofline {
  const { backend, promptTokens, precision, weights } = result.subject;
  const work = policyWork(architecture, { ...sizes, promptTokens });
  return rooflineOf(work, device === undefined ? deviceAtHand(machine) : findDevice(device), {
    // engines leave everything but the language model in 16 bits
    precision:
      backend === 'tensorrt' && (precision === 'int8' || precision === 'fp8')
        ? `${precision}-llm`
        : precision,
    measured: measuredStages(result, layers),
    storedWeights: weights === 'mapped',
  });
}

/** @throws OPTION_REQUIRED */
function deviceAtHand({ board, gpu }: MachineState): Device {
  const memory = gpu?.memoryBytes ?? null;
  const found = (gpu && recogniseDevice(gpu.name, memory)) ?? recogniseDevice(board, memory);
  if (found !== null) return found;
  throw new SemanticVlaError(
    'OPTION_REQUIRED',
    `Roofline of ${gpu?.name ?? board}: expected a device whose peaks are known, found none of ${devices.map(({ name }) => name).join(', ')}. ` +
      'Name the nearest: bench --roofline NAME.',
  );
}

/** The graph's time is measured; a stage's is its share of it in the profile, whose own times are slower. */
function measuredStages(
  { summary }: SubjectResult,
  layers: readonly LayerTime[],
): Partial<Record<WorkStage | 'policy', number>> {
  const policy = (summary.compute ?? summary.policy)?.median;
  const measured: Partial<Record<WorkStage | 'policy', number>> = {};
  if (summary.instruction !== undefined) measured.instruction = summary.instruction.median;
  if (policy === undefined) return measured;
  measured.policy = policy;
  const mine = layers.filter(({ graph }) => graph === 'policy');
  const percentOf = (some: readonly LayerTime[]): number =>
    some.reduce((sum, { percent }) => sum + percent, 0);
  for (const stage of workStages.filter((name) => name !== 'instruction')) {
    const share = percentOf(mine.filter(({ block }) => stageOfBlock(block) === stage));
    if (share > 0) measured[stage] = (policy * share) / percentOf(mine);
  }
  return measured;
}
