/**
 * Host path: two camera frames to what enters the towers, here and with TensorFlow's ops, alternating in one run.
 *
 *   node --import tsx bench/hostPath/hostPath.ts --python VENV/bin/python [--rounds 20] [--threads 2] [--size 256]
 *
 * The Python needs `pip install tensorflow-cpu`. Both sides start from raw RGB frames. `images` ends at the cropped uint8
 * images, which is what this package's graph takes (it normalizes inside); `pixels` goes on to both towers' normalized
 * float32 pixel values. The images must be the same bytes.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { normalizePixels, preprocessImages } from '../../lib/transforms/image.ts';
import type { ImageFrame } from '../../lib/types.ts';

const imageSize = 224;
const runsPerRound = 20;
const towers = [
  { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
] as const;

const { values: flags } = parseArgs({
  options: {
    python: { type: 'string' },
    rounds: { type: 'string', default: '20' },
    threads: { type: 'string', default: '2' },
    size: { type: 'string', default: '256' },
  },
});
if (flags.python === undefined) throw new Error('--python: a Python with tensorflow-cpu is needed');
const threads = Number(flags.threads);
const size = Number(flags.size);

/** Two views cut from the golden scene, so that they compress and decode as camera frames do. */
async function makeFrames(): Promise<ImageFrame[]> {
  const scene = fileURLToPath(new URL('../../test/golden/preprocessing/scene_480x640.png', import.meta.url));
  return Promise.all(
    [0, 160].map(async (left) => {
      const view = sharp(scene).extract({ left, top: 0, width: 480, height: 480 }).resize(size, size);
      const { data } = await view.raw().toBuffer({ resolveWithObject: true });
      return { data: new Uint8Array(data), width: size, height: size };
    }),
  );
}

/** One line to the Python process, one JSON line back. */
class Baseline {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(python: string) {
    const script = fileURLToPath(new URL('tensorflowHostPath.py', import.meta.url));
    this.#process = spawn(python, [script, String(threads)], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  async ask<T>(line: string): Promise<T> {
    this.#process.stdin!.write(`${line}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('the Python process ended');
    return JSON.parse(value) as T;
  }

  end(): void {
    this.#process.stdin!.end();
  }
}

const frames = await makeFrames();
const options = { imageSize, centerCrop: true, jpeg: true, threads };

type Output = 'images' | 'pixels';
const outputs: readonly Output[] = ['images', 'pixels'];
const modes = ['eager', 'graph'] as const;

/** Milliseconds of each run, and the last run's policy images. */
async function ours(output: Output): Promise<{ times: number[]; images: Uint8Array }> {
  const times: number[] = [];
  let images: Uint8Array = new Uint8Array(0);
  for (let i = 0; i < runsPerRound; i++) {
    const start = performance.now();
    images = await preprocessImages(frames, options);
    if (output === 'pixels') for (const tower of towers) normalizePixels(images, imageSize, tower);
    times.push(performance.now() - start);
  }
  return { times, images };
}

const median = (times: number[]) => times.toSorted((a, b) => a - b)[times.length >> 1] as number;

const folder = mkdtempSync(join(tmpdir(), 'semanticvla-hostPath-'));
const baseline = new Baseline(flags.python);
try {
  const file = join(folder, 'frames.rgb');
  writeFileSync(file, Buffer.concat(frames.map(({ data }) => data)));
  const { tensorflow } = await baseline.ask<{ tensorflow: string }>(`frames ${file} ${size} ${size} 2`);

  // Warm both sides up: tracing of the graph, tables, threads, the compiler of JavaScript.
  for (const mode of modes) for (const output of outputs) await baseline.ask(`round ${mode} ${output} 5`);
  const { images } = await ours('images');
  const same = (await baseline.ask<string>('result')) === createHash('sha256').update(images).digest('hex');

  const rounds = Number(flags.rounds);
  console.log(
    `two ${size} x ${size} frames, ${threads} threads, ${rounds * runsPerRound} runs each in ${rounds} alternating rounds, medians`,
  );
  for (const output of outputs) {
    const own: number[] = [];
    const theirs = { eager: [] as number[], graph: [] as number[] };
    for (let round = 0; round < rounds; round++) {
      own.push(...(await ours(output)).times);
      for (const mode of modes) {
        theirs[mode].push(...(await baseline.ask<number[]>(`round ${mode} ${output} ${runsPerRound}`)));
      }
    }
    const report = (name: string, times: number[]) => {
      const ratio = (median(times) / median(own)).toFixed(1);
      console.log(
        `${output}  ${name.padEnd(32)} ${median(times).toFixed(2).padStart(7)} ms ${ratio.padStart(6)}x`,
      );
    };
    report('semanticvla', own);
    report(`TensorFlow ${tensorflow}, op by op`, theirs.eager);
    report(`TensorFlow ${tensorflow}, one graph`, theirs.graph);
  }
  console.log(`policy images ${same ? 'equal' : 'DIFFERENT'} byte for byte`);
  process.exitCode = same ? 0 : 1;
} finally {
  baseline.end();
  rmSync(folder, { recursive: true });
}
