/**
 * Speed on the CPU against PyTorch, alternating in one run, two threads each.
 *
 *   node --import tsx bench/cpu.ts [libero-golden] [quarter] [CHECKPOINT...] [--dtype bfloat16] [--rounds N] [--json]
 *
 * libero-golden: the golden LIBERO policy, frames in memory to actions. quarter: a full-width policy of a quarter of the
 * depth (random weights, made once in the cache folder: 6 GB on disk, 20 GB of memory for both sides).
 * A folder is another SemanticVLA policy for LIBERO. --dtype bfloat16: PyTorch computes in bfloat16, as the reference does on
 * a GPU; whether the processor has instructions for that decides who is faster, so it is printed.
 * The baseline runs twice: as the authors' code does everything on each call, and `lean`, without what nothing reads.
 * A ratio is that of the two medians of one round; what is printed is its median over the rounds, and its range.
 */

import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readObservation } from '../lib/observation/readObservation.ts';
import { loadPolicy } from '../lib/policy/loadPolicy.ts';
import { synthesizeCheckpoint } from '../lib/synth/synthesize.ts';
import type { Policy } from '../lib/types.ts';
import { type TwinLoaded, TwinProcess } from './twinProcess.ts';

const threads = 2;
const known = ['libero-golden', 'quarter'];
const golden = fileURLToPath(new URL('../test/golden/libero-tiny', import.meta.url));
const observationDir = join(golden, 'obs0');
const instruction = 'pick up the black bowl between the plate and the ramekin and place it on the plate';

interface Subject {
  readonly name: string;
  readonly dir: string;
  readonly unnormKey: string;
  /** Predictions of each side in one round. */
  readonly perRound: number;
  readonly rounds: number;
  /** Predictions of each side before the first round. */
  readonly warmUp: number;
}

interface Row {
  readonly subject: string;
  readonly baseline: string;
  readonly oursMs: number;
  readonly baselineMs: number;
  readonly baselineModelMs: number;
  readonly ratio: number;
  readonly ratioMin: number;
  readonly ratioMax: number;
  readonly rounds: number;
  /** Largest difference of the two sides' normalized actions: both computed the same thing. */
  readonly difference: number;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

async function quarterDepth(): Promise<string> {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  const dir = join(cache, 'semanticvla', 'bench', 'quarter-depth');
  if (!existsSync(dir)) {
    console.error(`Making ${dir} (6 GB of random weights)`);
    await synthesizeCheckpoint('libero', dir, {
      seed: 1,
      overrides: { llamaLayers: 8, dinov2Depth: 6, siglipDepth: 7, textLayers: 7 },
    });
  }
  return dir;
}

async function subjects(names: readonly string[], rounds: number | undefined): Promise<Subject[]> {
  const all: Subject[] = [];
  if (names.includes('libero-golden')) {
    all.push({
      name: 'libero-golden',
      dir: join(golden, 'checkpoint'),
      unnormKey: 'libero_spatial_no_noops',
      perRound: 20,
      rounds: rounds ?? 15,
      warmUp: 30,
    });
  }
  if (names.includes('quarter')) {
    const dir = await quarterDepth();
    all.push({
      name: 'quarter',
      dir,
      unnormKey: 'libero_spatial_no_noops',
      perRound: 1,
      rounds: rounds ?? 7,
      warmUp: 1,
    });
  }
  for (const dir of names.filter((name) => !known.includes(name))) {
    const unnormKey = 'libero_spatial_no_noops';
    all.push({ name: basename(dir), dir, unnormKey, perRound: 1, rounds: rounds ?? 7, warmUp: 1 });
  }
  return all;
}

/** x86 and Arm name them in /proc/cpuinfo. */
function bfloat16Instructions(): string {
  const flags = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
  const found = flags.split(' ').filter((flag) => /^(?:avx512_bf16|amx_bf16|bf16|svebf16)$/.test(flag));
  return found.length === 0 ? 'none' : found.join(', ');
}

async function measure(subject: Subject, lean: boolean): Promise<{ row: Row; loaded: TwinLoaded }> {
  const { observation } = await readObservation(observationDir);
  await using policy: Policy = await loadPolicy(subject.dir, {
    platform: 'libero',
    threads,
    weights: 'folded',
  });
  const unnormKey = subject.unnormKey;
  const twin = new TwinProcess();
  try {
    const loaded = await twin.load({
      dir: subject.dir,
      threads,
      cameras: 2,
      chunk: policy.platform.chunk,
      lean,
      dtype,
    });
    const ask = (repeat: number) =>
      twin.predict({ observation: observationDir, instruction, unnorm_key: unnormKey, repeat });
    const ours: number[] = [];
    const theirs: number[] = [];
    const model: number[] = [];
    const ratios: number[] = [];
    let difference = 0;
    const once = async () => policy.predict(observation, { instruction, unnormKey });
    for (let i = 0; i < subject.warmUp; i++) await once();
    await ask(subject.warmUp);
    for (let round = 0; round < subject.rounds; round++) {
      const times: number[] = [];
      let normalized: Float32Array = new Float32Array();
      for (let i = 0; i < subject.perRound; i++) {
        const start = performance.now();
        ({ normalized } = await once());
        times.push(performance.now() - start);
      }
      const answer = await ask(subject.perRound);
      ours.push(median(times));
      theirs.push(median(answer.endToEndMs));
      model.push(median(answer.modelMs));
      ratios.push(theirs.at(-1)! / ours.at(-1)!);
      difference = Math.max(
        difference,
        ...answer.normalized.flat().map((value, i) => Math.abs(value - normalized[i]!)),
      );
    }
    const row: Row = {
      subject: subject.name,
      baseline: `PyTorch, ${dtype}, ${lean ? 'lean' : 'as the reference'}`,
      oursMs: median(ours),
      baselineMs: median(theirs),
      baselineModelMs: median(model),
      ratio: median(ratios),
      ratioMin: Math.min(...ratios),
      ratioMax: Math.max(...ratios),
      rounds: subject.rounds,
      difference,
    };
    return { row, loaded };
  } finally {
    await twin.close();
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    dtype: { type: 'string', default: 'float32' },
    json: { type: 'boolean', default: false },
  },
});
const names = positionals.length > 0 ? positionals : known;
if (values.dtype !== 'float32' && values.dtype !== 'bfloat16')
  throw new Error('--dtype: float32 or bfloat16');
const dtype = values.dtype;
if (dtype === 'bfloat16') console.error(`bfloat16 instructions of this processor: ${bfloat16Instructions()}`);
const rows: Row[] = [];
for (const subject of await subjects(
  names,
  values.rounds === undefined ? undefined : Number(values.rounds),
)) {
  for (const lean of [false, true]) {
    const { row, loaded } = await measure(subject, lean);
    rows.push(row);
    console.error(
      `${row.subject}, against ${row.baseline} (torch ${loaded.torch}, images by ${loaded.images}): ` +
        `${row.oursMs.toFixed(1)} ms against ${row.baselineMs.toFixed(1)} ms (${row.baselineModelMs.toFixed(1)} in the model), ` +
        `${row.ratio.toFixed(2)}x (${row.ratioMin.toFixed(2)} to ${row.ratioMax.toFixed(2)} over ${row.rounds} rounds), ` +
        `actions differ by ${row.difference.toExponential(1)}`,
    );
  }
}
if (values.json) console.log(JSON.stringify(rows, null, 2));
