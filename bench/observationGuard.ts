/**
 * Cost of checking an observation before it is used, beside what the check reads at least once (a copy of both frames).
 *
 *   node --import tsx bench/observationGuard.ts [--rounds 2000]
 */

import { parseArgs } from 'node:util';
import { observationGuard } from '../lib/observation/observationGuard.ts';
import type { Observation } from '../lib/types.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '2000' } } });
const rounds = Number(values.rounds);

function frames(side: number): Observation {
  const frame = () => {
    const data = new Uint8Array(side * side * 3);
    for (let i = 0; i < data.length; i++) data[i] = (i * 2654435761) >>> 24;
    return { width: side, height: side, data };
  };
  const images = { full_image: frame(), wrist_image: frame() };
  images.wrist_image.data.reverse();
  return { images, state: Float64Array.from({ length: 8 }, (_, i) => i / 10) };
}

function quantiles(times: number[]): string {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!.toFixed(4);
  return `p50 ${at(0.5)}  p90 ${at(0.9)}  p99 ${at(0.99)} ms`;
}

for (const side of [224, 480, 1080]) {
  const observation = frames(side);
  const cameras = Object.values(observation.images);
  const guard = observationGuard({ cameras: ['full_image', 'wrist_image'] });
  const copies = cameras.map(({ data }) => new Uint8Array(data.length));
  const [fresh, still, copy]: [number[], number[], number[]] = [[], [], []];
  let at = 0;
  const time = (into: number[], action: () => void): void => {
    const start = performance.now();
    action();
    into.push(performance.now() - start);
  };
  for (let round = 0; round < rounds; round++) {
    // another frame: every byte is compared up to the last, which alone differs, and copied
    for (const { data } of cameras) data[data.length - 1]! ^= 1;
    time(fresh, () => guard.check({ ...observation }, ++at));
    time(still, () => guard.check({ ...observation }, ++at));
    time(copy, () => {
      for (const [i, { data }] of cameras.entries()) copies[i]!.set(data);
    });
  }
  console.log(`2 frames of ${side} x ${side}, ${rounds} rounds`);
  console.log(`  check, new frames       ${quantiles(fresh)}`);
  console.log(`  check, the same frames  ${quantiles(still)}`);
  console.log(`  copying both frames     ${quantiles(copy)}`);
}
