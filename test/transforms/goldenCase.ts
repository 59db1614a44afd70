/** The parts of the goldens' case.json and statistics that the tests of proprioception and actions need. */

import { readFileSync } from 'node:fs';
import type { Bounds } from '../../lib/checkpoint/checkpoint.ts';
import type { Normalization } from '../../lib/types.ts';
import { goldenPath } from './tokenizer/fixtures.ts';

export const policies = ['libero-tiny', 'aloha-tiny', 'oft-tiny'] as const;
export type PolicyName = (typeof policies)[number];

export interface GoldenSample {
  readonly observation: string;
  readonly unnorm_key: string;
  readonly golden: string;
  readonly actions_fp32: number[][];
  readonly normalized_fp32: number[][];
}

export function goldenCase(policy: PolicyName): { samples: GoldenSample[]; normalization: Normalization } {
  const { samples, normalization } = json(`${policy}/case.json`) as {
    samples: GoldenSample[];
    normalization: string;
  };
  return { samples, normalization: normalization === 'bounds' ? 'minmax' : 'q99' };
}

export function goldenBounds(policy: PolicyName, key: string, quantity: 'action' | 'proprio'): Bounds {
  const statistics = json(`${policy}/checkpoint/dataset_statistics.json`) as Record<
    string,
    Record<'action' | 'proprio', Omit<Bounds, 'mask'> & { mask?: boolean[] }>
  >;
  const bounds = statistics[key]?.[quantity];
  if (bounds === undefined) throw new Error(`no ${quantity} statistics of ${key} in ${policy}`);
  return { ...bounds, mask: bounds.mask ?? bounds.q01.map(() => true) };
}

export function goldenState(policy: PolicyName, observation: string): number[] {
  return (json(`${policy}/${observation}/observation.json`) as { state: number[] }).state;
}

/** A float32 tensor of a golden safetensors file, read by its header alone. */
export function goldenTensor(policy: PolicyName, file: string, name: string): Float32Array {
  const bytes = readFileSync(goldenPath(`${policy}/${file}`));
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerLength));
  const { dtype, data_offsets } = header[name] as { dtype: string; data_offsets: [number, number] };
  if (dtype !== 'F32') throw new Error(`${name} of ${file} is ${dtype}`);
  const [from, to] = data_offsets;
  return new Float32Array(
    bytes.buffer.slice(bytes.byteOffset + 8 + headerLength + from, bytes.byteOffset + 8 + headerLength + to),
  );
}

function json(name: string): unknown {
  return JSON.parse(readFileSync(goldenPath(name), 'utf8'));
}
