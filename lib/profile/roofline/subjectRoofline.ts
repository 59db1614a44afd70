/** The roofline of a measured subject, for the device that it ran on or another one by name. */

import type { Architecture } from '../../engine/presetArchitecture.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import { stageOfBlock } from '../layers/blocks.ts';
import type { LayerTime, MachineState, Roofline, SubjectResult } from '../types.ts';
import { type Device, devices, findDevice, recogniseDevice } from './devices.ts';
import { measureCpu } from './measureCpu.ts';
import { policyWork, type WorkSizes, type WorkStage, workStages } from './policyWork.ts';
import { type RooflinePrecision, rooflineOf } from './roofline.ts';

export interface SubjectRooflineOptions {
  /** A name from the device table; default: with TensorRT the GPU at hand, on the CPU this processor, measured. */
  readonly device?: string;
  /** Of the same subject: stages get their share of the measured time. */
  readonly layers?: readonly LayerTime[];
}

const precisions = {
  float32: 'fp32',
  bfloat16: 'bf16',
  float16: 'fp16',
  int8: 'int8',
  'int8-llm': 'int8-llm',
} as const;

/**
 * @param sizes what the checkpoint does not hold (../../policy/policyParts.ts); the prompt's length is the subject's
 * @throws (rejects) OPTION_INVALID unknown device; OPTION_REQUIRED the GPU at hand is in no table
 */
export async function subjectRoofline(
  architecture: Architecture,
  sizes: Omit<WorkSizes, 'promptTokens'>,
  result: SubjectResult,
  machine: MachineState,
  options: SubjectRooflineOptions = {},
): Promise<Roofline> {
  const { subject } = result;
  const device =
    options.device === undefined
      ? await deviceAtHand(machine, subject.backend, subject.threads)
      : findDevice(options.device);
  const work = policyWork(architecture, { ...sizes, promptTokens: subject.promptTokens });
  const precision: RooflinePrecision = precisions[subject.precision];
  return rooflineOf(work, device, {
    precision,
    measured: measuredStages(result, options.layers ?? []),
    storedWeights: subject.weights === 'mapped',
  });
}

/** @throws (rejects) OPTION_REQUIRED */
async function deviceAtHand(
  machine: MachineState,
  backend: 'cpu' | 'tensorrt',
  threads: number | null,
): Promise<Device> {
  if (backend === 'cpu') return measureCpu(threads === null ? {} : { threads });
  const { board, gpu } = machine;
  const found =
    (gpu === null ? null : recogniseDevice(gpu.name, gpu.memoryBytes)) ??
    recogniseDevice(board, gpu?.memoryBytes ?? null);
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
  const total = mine.reduce((sum, { percent }) => sum + percent, 0);
  if (total === 0) return measured;
  for (const stage of workStages) {
    if (stage === 'instruction') continue;
    const share = mine.reduce(
      (sum, { block, percent }) => sum + (stageOfBlock(block) === stage ? percent : 0),
      0,
    );
    if (share > 0) measured[stage] = (policy * share) / total;
  }
  return measured;
}
