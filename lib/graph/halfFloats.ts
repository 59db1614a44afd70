/** Numbers in the 16-bit types, as the bytes of a constant. Rounds to nearest, ties to even. */

import { toBfloat16 } from '../support/bfloat16.ts';
import type { Precision } from './onnxModel.ts';

/** Lowest finite number of each type: what is added where attention is not allowed. */
export const lowestFinite: Readonly<Record<Precision, number>> = {
  float32: -3.4028234663852886e38,
  bfloat16: -3.3895313892515355e38,
  float16: -65504,
};

/** Little-endian numbers. */
export function floatBytes(values: Float32Array, type: Precision): Uint8Array {
  if (type === 'float32') return new Uint8Array(values.slice().buffer);
  if (type === 'bfloat16') return new Uint8Array(toBfloat16(values).buffer);
  return new Uint8Array(Uint16Array.from(values, float16Bits).buffer);
}

/** One of them. */
export const scalarBytes = (value: number, type: Precision): Uint8Array =>
  floatBytes(Float32Array.of(value), type);

export function float16Bits(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  // 65520 is half way between the largest float16 and the next power of two: it rounds to infinity
  if (size >= 65520) return sign | 0x7c00;
  // below 2^-14 numbers are multiples of 2^-24 (subnormal)
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const unit = 2 ** (exponent - 10);
  const steps = roundToEven(size / unit);
  if (steps < 1024) return sign | steps;
  // 2048 steps carry into the next exponent by plain addition
  return sign | (((exponent + 14) << 10) + steps);
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest > 0.5 || (rest === 0.5 && floor % 2 === 1)) return floor + 1;
  return floor;
}
