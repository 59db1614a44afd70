/**
 * Peaks of devices as their makers state them: dense (no structured sparsity), tensor cores with float32 accumulation
 * if a maker gives both, highest clocks that the product is sold with. If only the sparse figure is printed, dense is
 * half of it. What a device reaches in practice is lower; a limit made of these is one that nobody passes.
 */

import { SemanticVlaError } from '../../support/errors.ts';
import { nearest } from '../../support/options.ts';

/** Arithmetic that a device has a peak for. */
export type PeakKind = 'fp32' | 'bf16' | 'fp16' | 'int8' | 'fp8' | 'fp4';

/** What a device can do at best, and the source of each figure. */
export interface Device {
  /** What `roofline --hardware` takes. */
  readonly name: string;
  readonly title: string;
  /** TFLOPS or TOPS; a kind that the device does not compute in is absent. */
  readonly peaks: Readonly<Partial<Record<PeakKind, number>>>;
  readonly bandwidthGBs: number;
  readonly memoryBytes: number;
  /** Where the figures were read, and what was computed from them. */
  readonly source: string;
}

const GB = 1e9;

/** Ampere tensor cores of Orin: 512 dense float16 operations a clock and core, twice as many in INT8. */
function orin(cores: number, gpuMHz: number, sheet: string): Pick<Device, 'peaks' | 'source'> {
  const half = (cores * 512 * gpuMHz) / 1e6;
  return {
    // 32 CUDA cores go with each tensor core
    peaks: { fp32: (cores * 32 * 2 * gpuMHz) / 1e6, bf16: half, fp16: half, int8: 2 * half },
    source: `${sheet}; ${cores} tensor cores at ${gpuMHz} MHz: dense float16 = cores x 512 x clock, INT8 twice that (GPU alone, without DLA)`,
  };
}

const agx = 'NVIDIA Jetson AGX Orin Series technical brief';
const nx = 'NVIDIA Jetson Orin NX Series data sheet, JetPack 6.2 super mode';
const nano = 'NVIDIA Jetson Orin Nano Super data sheet';

export const devices: readonly Device[] = [
  {
    ...{ name: 'h200', title: 'NVIDIA H200 SXM', bandwidthGBs: 4800, memoryBytes: 141 * GB },
    peaks: { fp32: 67, bf16: 989, fp16: 989, int8: 1979, fp8: 1979 },
    source:
      'NVIDIA H200 Tensor Core GPU datasheet: 1,979 TFLOPS BF16 and 3,958 FP8 with sparsity (dense: half), 4.8 TB/s, 141 GB',
  },
  {
    ...{ name: 'h100', title: 'NVIDIA H100 SXM', bandwidthGBs: 3350, memoryBytes: 80 * GB },
    peaks: { fp32: 67, bf16: 989, fp16: 989, int8: 1979, fp8: 1979 },
    source:
      'NVIDIA H100 Tensor Core GPU datasheet: 1,979 TFLOPS BF16 and 3,958 FP8 with sparsity (dense: half), 3.35 TB/s, 80 GB',
  },
  {
    ...{ name: 'a100', title: 'NVIDIA A100 80GB SXM', bandwidthGBs: 2039, memoryBytes: 80 * GB },
    peaks: { fp32: 19.5, bf16: 312, fp16: 312, int8: 624 },
    source: 'NVIDIA A100 Tensor Core GPU datasheet: 312 TFLOPS BF16, 624 TOPS INT8, 2,039 GB/s, 80 GB',
  },
  {
    ...{ name: 'rtx-3090', title: 'NVIDIA GeForce RTX 3090', bandwidthGBs: 936, memoryBytes: 24 * GB },
    peaks: { fp32: 35.6, bf16: 71, fp16: 71, int8: 284 },
    source:
      'NVIDIA Ampere GA102 GPU Architecture whitepaper, appendix A: 71 TFLOPS FP16 with FP32 accumulate, 284 TOPS INT8, 936 GB/s, 24 GB',
  },
  {
    ...{ name: 'rtx-4090', title: 'NVIDIA GeForce RTX 4090', bandwidthGBs: 1008, memoryBytes: 24 * GB },
    peaks: { fp32: 82.6, bf16: 165.2, fp16: 165.2, int8: 660.6, fp8: 330.3 },
    source:
      'NVIDIA Ada GPU Architecture whitepaper, appendix A: 165.2 TFLOPS FP16 and 330.3 FP8 with FP32 accumulate, 660.6 TOPS INT8, 1,008 GB/s, 24 GB',
  },
  {
    ...{ name: 'rtx-5090', title: 'NVIDIA GeForce RTX 5090', bandwidthGBs: 1792, memoryBytes: 32 * GB },
    peaks: { fp32: 104.8, bf16: 209.5, fp16: 209.5, int8: 838, fp8: 419, fp4: 1676 },
    source:
      'NVIDIA RTX Blackwell GPU Architecture whitepaper, appendix A: 209.5 TFLOPS FP16 and 419 FP8 with FP32 accumulate, 1,676 FP4, 838 TOPS INT8, 1,792 GB/s, 32 GB',
  },
  {
    ...{ name: 'l4', title: 'NVIDIA L4', bandwidthGBs: 300, memoryBytes: 24 * GB },
    peaks: { fp32: 30.3, bf16: 121, fp16: 121, int8: 242.5, fp8: 242.5 },
    source:
      'NVIDIA L4 Tensor Core GPU datasheet: 242 TFLOPS FP16 and 485 FP8 with sparsity (dense: half), 300 GB/s, 24 GB',
  },
  {
    ...{ name: 'l40s', title: 'NVIDIA L40S', bandwidthGBs: 864, memoryBytes: 48 * GB },
    peaks: { fp32: 91.6, bf16: 362, fp16: 362, int8: 733, fp8: 733 },
    source: 'NVIDIA L40S datasheet: 362 TFLOPS FP16, 733 FP8, 733 TOPS INT8, 864 GB/s, 48 GB',
  },
  {
    ...{ name: 'thor', title: 'NVIDIA Jetson Thor (T5000)', bandwidthGBs: 273, memoryBytes: 128 * GB },
    peaks: { fp32: 8.06, bf16: 258, fp16: 258, fp8: 517, fp4: 1035 },
    source:
      'NVIDIA Jetson Thor series modules data sheet: 2,070 TFLOPS FP4 with sparsity (dense: half, FP8 a quarter, FP16 an eighth), 2,560 CUDA cores at 1,575 MHz, 273 GB/s, 128 GB',
  },
  {
    ...{
      name: 'orin-agx-64',
      title: 'NVIDIA Jetson AGX Orin 64GB',
      bandwidthGBs: 204.8,
      memoryBytes: 64 * GB,
    },
    ...orin(64, 1301, `${agx}: GPU 170 sparse INT8 TOPS, 5.3 TFLOPS FP32, 204.8 GB/s`),
  },
  {
    ...{
      name: 'orin-agx-32',
      title: 'NVIDIA Jetson AGX Orin 32GB',
      bandwidthGBs: 204.8,
      memoryBytes: 32 * GB,
    },
    ...orin(56, 930, `${agx}: GPU 108 sparse INT8 TOPS, 3.3 TFLOPS FP32, 204.8 GB/s`),
  },
  {
    ...{
      name: 'orin-nx-16',
      title: 'NVIDIA Jetson Orin NX 16GB, MAXN SUPER',
      bandwidthGBs: 102.4,
      memoryBytes: 16 * GB,
    },
    ...orin(32, 1173, `${nx}: 157 sparse TOPS with DLA, 102.4 GB/s`),
  },
  {
    ...{
      name: 'orin-nx-8',
      title: 'NVIDIA Jetson Orin NX 8GB, MAXN SUPER',
      bandwidthGBs: 102.4,
      memoryBytes: 8 * GB,
    },
    ...orin(32, 1173, `${nx}: 117 sparse TOPS with DLA, 102.4 GB/s`),
  },
  {
    ...{
      name: 'orin-nano-8',
      title: 'NVIDIA Jetson Orin Nano 8GB, MAXN SUPER',
      bandwidthGBs: 102.4,
      memoryBytes: 8 * GB,
    },
    ...orin(32, 1020, `${nano}: 67 sparse INT8 TOPS, 102 GB/s`),
  },
];

/** @throws OPTION_INVALID */
export function findDevice(name: string): Device {
  const device = devices.find((known) => known.name === name);
  if (device !== undefined) return device;
  const names = devices.map((known) => known.name);
  const meant = nearest(name, names);
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `Device ${name}: expected one of ${names.join(', ')}${meant === null ? '' : `; ${meant} was probably meant`}.`,
  );
}

/** Words of product names, the more particular first. */
const products: readonly (readonly [RegExp, string])[] = [
  [/H200/, 'h200'],
  [/H100/, 'h100'],
  [/\bA[18]00\b.*80 ?GB/, 'a100'],
  [/RTX 3090(?! Ti)/, 'rtx-3090'],
  [/RTX 4090(?! D| Laptop)/, 'rtx-4090'],
  [/RTX 5090(?! D| Laptop)/, 'rtx-5090'],
  [/\bL40S\b/, 'l40s'],
  [/\bL4\b/, 'l4'],
  [/Thor/, 'thor'],
];

/**
 * The table's entry for a product as a driver or a board names it; null if none is surely meant. Orin's modules share
 * their names, so their memory decides.
 */
export function recogniseDevice(product: string, memoryBytes: number | null): Device | null {
  const found = products.find(([pattern]) => pattern.test(product));
  if (found !== undefined) return devices.find(({ name }) => name === found[1])!;
  const family = /Orin/.test(product) ? /AGX|NX|Nano/.exec(product)?.[0].toLowerCase() : undefined;
  if (memoryBytes === null || family === undefined) return null;
  // a system sees somewhat less than what is soldered on, and more than the next smaller module has
  return (
    devices
      .filter(({ name }) => name.startsWith(`orin-${family}`))
      .sort((a, b) => a.memoryBytes - b.memoryBytes)
      .find((module) => memoryBytes <= module.memoryBytes * 1.08) ?? null
  );
}
