/** Golden images for the tests: raw PNG twins and TensorFlow's results (test/golden/README.md). */

import { readFileSync } from 'node:fs';
import sharp from 'sharp';

const golden = new URL('../golden/', import.meta.url);

/** Names of the images in golden/preprocessing. */
export const preprocessingNames: readonly string[] = Object.keys(
  JSON.parse(readFileSync(new URL('preprocessing/index.json', golden), 'utf8')) as Record<string, unknown>,
);

/** One tensor of a safetensors file, bytes as stored. For small files only: it reads all of it. */
export function goldenTensor(file: string, name: string): { shape: number[]; data: Uint8Array } | null {
  const bytes = readFileSync(new URL(file, golden));
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerLength)) as Record<
    string,
    { shape: number[]; data_offsets: [number, number] }
  >;
  const entry = header[name];
  if (entry === undefined) return null;
  const [begin, end] = entry.data_offsets;
  const start = 8 + headerLength;
  return { shape: entry.shape, data: Uint8Array.from(bytes.subarray(start + begin, start + end)) };
}

/** RGB of a golden PNG. */
export async function goldenPng(file: string): Promise<{ data: Uint8Array; width: number; height: number }> {
  const { data, info } = await sharp(readFileSync(new URL(file, golden)))
    .raw()
    .toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) throw new Error(`${file}: ${info.channels} channels`);
  return { data: new Uint8Array(data), width: info.width, height: info.height };
}

/** Number of values that differ, and the largest difference. */
export function difference(a: Uint8Array, b: Uint8Array): { count: number; max: number } {
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`);
  let count = 0;
  let max = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs((a[i] as number) - (b[i] as number));
    if (d > 0) count++;
    if (d > max) max = d;
  }
  return { count, max };
}
