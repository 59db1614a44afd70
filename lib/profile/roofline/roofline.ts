/**
 * What a device could do at best: limit = max(operations / peak, bytes of weights / bandwidth) for each stage, and their sum,
 * since the stages wait for each other. Nothing is measured here.
 */

import type { EnginePrecision } from '../../graph/tiers.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import type { Roofline, RooflineMemory, RooflineRow } from '../types.ts';
import type { Device, PeakKind } from './devices.ts';
import type { PolicyWork, StageWork, WorkStage } from './policyWork.ts';

interface Arithmetic {
  readonly peak: PeakKind;
  /** Bits a weight takes in memory, scales included. */
  readonly weightBits: number;
  readonly activationBits: number;
}

interface PrecisionPlan {
  readonly text: string;
  /** What TensorRT is asked for to compute so; absent: this program does not. */
  readonly engine?: EnginePrecision;
  readonly llm: Arithmetic;
  readonly rest: Arithmetic;
}

const plain = (peak: PeakKind, bits: number): Arithmetic => ({
  peak,
  weightBits: bits,
  activationBits: bits,
});

/** NVFP4: an FP8 scale for 16 weights. Group-wise INT4: a 16-bit scale for 128. */
const nvfp4Bits = 4 + 8 / 16;
const int4Bits = 4 + 16 / 128;

export const rooflinePrecisions = {
  float32: { text: 'float32', engine: 'float32', llm: plain('fp32', 32), rest: plain('fp32', 32) },
  bfloat16: { text: 'bfloat16', engine: 'bfloat16', llm: plain('bf16', 16), rest: plain('bf16', 16) },
  float16: { text: 'float16', engine: 'float16', llm: plain('fp16', 16), rest: plain('fp16', 16) },
  fp8: { text: 'FP8', llm: plain('fp8', 8), rest: plain('fp8', 8) },
  'fp8-llm': {
    text: 'FP8 language model, 16-bit rest',
    engine: 'fp8',
    llm: plain('fp8', 8),
    rest: plain('bf16', 16),
  },
  int8: { text: 'INT8', llm: plain('int8', 8), rest: plain('int8', 8) },
  'int8-llm': {
    text: 'INT8 language model, 16-bit rest',
    engine: 'int8',
    llm: plain('int8', 8),
    rest: plain('bf16', 16),
  },
  nvfp4: {
    text: 'NVFP4 language model, FP8 rest',
    llm: { peak: 'fp4', weightBits: nvfp4Bits, activationBits: nvfp4Bits },
    rest: plain('fp8', 8),
  },
  'int4-llm': {
    text: 'INT4 weights of the language model computed in float16, float16 rest',
    llm: { peak: 'fp16', weightBits: int4Bits, activationBits: 16 },
    rest: plain('fp16', 16),
  },
} satisfies Readonly<Record<string, PrecisionPlan>>;

/** Number format of weights and activations. */
export type RooflinePrecision = keyof typeof rooflinePrecisions;
/** What TensorRT is asked for to compute in it; null: this program does not. */
export const engineOf = (name: RooflinePrecision): EnginePrecision | null => {
  const plan: PrecisionPlan = rooflinePrecisions[name];
  return plan.engine ?? null;
};
export const rooflinePrecisionNames = Object.keys(rooflinePrecisions) as readonly RooflinePrecision[];

/** Those that a device computes in. */
export function precisionsOf({ peaks }: Device): RooflinePrecision[] {
  return rooflinePrecisionNames.filter((name) => {
    const { llm, rest } = rooflinePrecisions[name];
    return peaks[llm.peak] !== undefined && peaks[rest.peak] !== undefined;
  });
}

export interface RooflineOptions {
  readonly precision: RooflinePrecision;
  /** Milliseconds that stages took; `policy` is the whole graph of a chunk. */
  readonly measured?: Readonly<Partial<Record<WorkStage | 'policy', number>>>;
  /** true: weights are read as the checkpoint holds them, whatever they are computed in (`mapped`). */
  readonly storedWeights?: boolean;
}

/** Share of a memory that weights may take; the rest is for activations, work space, the driver and the system. */
const usable = 0.85;

/**
 * Rows in the order of the stages, then `policy`: a chunk as a whole. The instruction's row is not part of a chunk.
 * @throws OPTION_INVALID the device does not compute in this precision
 */
export function rooflineOf(work: PolicyWork, device: Device, options: RooflineOptions): Roofline {
  const plan = rooflinePrecisions[options.precision];
  if (!precisionsOf(device).includes(options.precision)) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Precision ${options.precision} on ${device.name}: expected one that it computes in (${precisionsOf(device).join(', ')}). Choose one of them.`,
    );
  }
  const { measured = {}, storedWeights = false } = options;
  const rows = work.stages.map((stage) => {
    const arithmetic = stage.stage === 'llm' ? plan.llm : plan.rest;
    return stageRow(stage, device, arithmetic, storedWeights, measured[stage.stage]);
  });
  const perChunk = rows.filter(({ stage }) => stage !== 'instruction');
  const sum = (key: 'flops' | 'weightBytes' | 'activationBytes' | 'limitMs', some = perChunk): number =>
    some.reduce((total, row) => total + row[key], 0);
  const limitMs = sum('limitMs');
  const byMemory = sum(
    'limitMs',
    perChunk.filter(({ boundBy }) => boundBy === 'memory'),
  );
  const policy = measured.policy ?? null;
  const whole: RooflineRow = {
    stage: 'policy',
    flops: sum('flops'),
    weightBytes: sum('weightBytes'),
    activationBytes: sum('activationBytes'),
    limitMs,
    boundBy: byMemory > limitMs / 2 ? 'memory' : 'compute',
    measuredMs: policy,
    fraction: policy === null ? null : limitMs / policy,
  };
  return {
    device: device.title,
    precision: plan.text,
    peakTflops: device.peaks[plan.llm.peak]!,
    bandwidthGBs: device.bandwidthGBs,
    source: device.source,
    rows: [...rows, whole],
    limitMs,
    memory: memoryOf(work, device, plan),
  };
}

function stageRow(
  work: StageWork,
  device: Device,
  { peak, weightBits, activationBits }: Arithmetic,
  storedWeights: boolean,
  measuredMs: number | undefined,
): RooflineRow {
  const weightBytes = storedWeights ? work.storedBytes : (work.weightElements * weightBits) / 8;
  const peakTflops = device.peaks[peak]!;
  const computeMs = work.flops / (peakTflops * 1e9);
  const memoryMs = weightBytes / (device.bandwidthGBs * 1e6);
  const limitMs = Math.max(computeMs, memoryMs);
  return {
    stage: work.stage,
    flops: work.flops,
    weightBytes,
    activationBytes: (work.activationElements * activationBits) / 8,
    limitMs,
    boundBy: computeMs > memoryMs ? 'compute' : 'memory',
    measuredMs: measuredMs ?? null,
    fraction: measuredMs === undefined ? null : limitMs / measuredMs,
    peakTflops,
  };
}

function memoryOf(
  { residentElements, residentLlmElements }: PolicyWork,
  { memoryBytes: deviceBytes }: Device,
  { llm, rest }: PrecisionPlan,
): RooflineMemory {
  const bits =
    residentLlmElements * llm.weightBits + (residentElements - residentLlmElements) * rest.weightBits;
  const neededBytes = Math.round(bits / 8);
  return { neededBytes, deviceBytes, fits: neededBytes <= usable * deviceBytes };
}

/** What a measured stage reached: TFLOPS, and GB/s of its weights. */
export const tflopsOf = ({ flops, measuredMs }: RooflineRow): number => flops / (measuredMs! * 1e9);
export const weightRateOf = ({ weightBytes, measuredMs }: RooflineRow): number =>
  weightBytes / (measuredMs! * 1e6);
