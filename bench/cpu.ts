/**
 * Speed on the CPU against PyTorch, alternating in one run, two threads each (--threads N: others).
 *
 *   node --import tsx bench/cpu.ts [libero-golden] [quarter] [CHECKPOINT...] [--ours float32,int8,mapped] [--dtype bfloat16]
 *     [--lean | --full] [--rounds N] [--threads N] [--json]
 *
 * libero-golden: the golden LIBERO policy, frames in memory to actions. quarter: a full-width policy of a quarter of the
 * depth (random weights, made once in the cache folder: 6 GB on disk, 20 GB of memory for both sides).
 * A folder is another SemanticVLA policy for LIBERO. --dtype bfloat16: PyTorch computes in bfloat16, as the reference does on
 * a GPU; whether the processor has instructions for that decides who is faster, so it is printed.
 * --ours: what is measured of this program, all in the same rounds: float32 (weights folded; default), mapped (float32, weights
 * mapped), int8, int8-llm.
 * The baseline runs twice: as the authors' code does everything on each call (--full: this one alone), and `lean` (--lean),
 * without what nothing reads.
 * Beside the time of the clock stands that of the processor (core-ms, all threads), which other load changes little.
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
import { cpuSides, type Side } from './cpuSides.ts';
import { type TwinLoaded, TwinProcess } from './twinProcess.ts';

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
  readonly ours: Side;
  readonly baseline: string;
  readonly oursMs: number;
  readonly baselineMs: number;
  readonly baselineModelMs: number;
  /** Processor time of a prediction, all threads. */
  readonly oursCoreMs: number;
  readonly baselineCoreMs: number;
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

interface Times {
  readonly ms: number[];
  readonly coreMs: number[];
  readonly ratios: number[];
  /** Largest difference of normalized actions from the baseline's. */
  difference: number;
}

async function measure(
  subject: Subject,
  lean: boolean,
  ours: readonly Side[],
): Promise<{ rows: Row[]; loaded: TwinLoaded }> {
  const { observation } = await readObservation(observationDir);
  const unnormKey = subject.unnormKey;
  const policies = new Map<Side, Policy>();
  const twin = new TwinProcess();
  try {
    for (const side of ours) {
      const options = { platform: 'libero', threads, ...cpuSides[side], onNotice: () => {} } as const;
      policies.set(side, await loadPolicy(subject.dir, options));
    }
    const { chunk } = [...policies.values()][0]!.platform;
    const loaded = await twin.load({ dir: subject.dir, threads, cameras: 2, chunk, lean, dtype });
    const ask = (repeat: number) =>
      twin.predict({ observation: observationDir, instruction, unnorm_key: unnormKey, repeat });
    const times = new Map(
      ours.map((side): [Side, Times] => [side, { ms: [], coreMs: [], ratios: [], difference: 0 }]),
    );
    const theirs: number[] = [];
    const model: number[] = [];
    const theirCoreMs: number[] = [];
    for (const policy of policies.values()) {
      for (let i = 0; i < subject.warmUp; i++) await policy.predict(observation, { instruction, unnormKey });
    }
    await ask(subject.warmUp);
    for (let round = 0; round < subject.rounds; round++) {
      const found = new Map<Side, { readonly ms: number; readonly normalized: Float32Array }>();
      for (const [side, policy] of policies) {
        const chunks: number[] = [];
        const cpu = process.cpuUsage();
        let normalized: Float32Array = new Float32Array();
        for (let i = 0; i < subject.perRound; i++) {
          const start = performance.now();
          ({ normalized } = await policy.predict(observation, { instruction, unnormKey }));
          chunks.push(performance.now() - start);
        }
        const { user, system } = process.cpuUsage(cpu);
        times.get(side)!.coreMs.push((user + system) / 1000 / subject.perRound);
        found.set(side, { ms: median(chunks), normalized });
      }
      const cpu = twin.cpuMs();
      const answer = await ask(subject.perRound);
      theirCoreMs.push((twin.cpuMs() - cpu) / subject.perRound);
      theirs.push(median(answer.endToEndMs));
      model.push(median(answer.modelMs));
      for (const [side, { ms, normalized }] of found) {
        const all = times.get(side)!;
        all.ms.push(ms);
        all.ratios.push(theirs.at(-1)! / ms);
        const differences = answer.normalized.flat().map((value, i) => Math.abs(value - normalized[i]!));
        all.difference = Math.max(all.difference, ...differences);
        console.error(
          `${subject.name}, round ${round + 1} of ${subject.rounds}, ${side}: ${ms.toFixed(1)} ms against ${theirs.at(-1)!.toFixed(1)}, ` +
            `core-ms ${all.coreMs.at(-1)!.toFixed(0)} against ${theirCoreMs.at(-1)!.toFixed(0)}`,
        );
      }
    }
    const rows = [...times].map(
      ([side, { ms, coreMs, ratios, difference }]): Row => ({
        subject: subject.name,
        ours: side,
        baseline: `PyTorch, ${dtype}, ${lean ? 'lean' : 'as the reference'}`,
        oursMs: median(ms),
        baselineMs: median(theirs),
        baselineModelMs: median(model),
        oursCoreMs: median(coreMs),
        baselineCoreMs: median(theirCoreMs),
        ratio: median(ratios),
        ratioMin: Math.min(...ratios),
        ratioMax: Math.max(...ratios),
        rounds: subject.rounds,
        difference,
      }),
    );
    return { rows, loaded };
  } finally {
    for (const policy of policies.values()) await policy.close();
    await twin.close();
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ours: { type: 'string', default: 'float32' },
    lean: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    threads: { type: 'string', default: '2' },
    dtype: { type: 'string', default: 'float32' },
    json: { type: 'boolean', default: false },
  },
});
const threads = Number(values.threads);
const names = positionals.length > 0 ? positionals : known;
if (values.dtype !== 'float32' && values.dtype !== 'bfloat16')
  throw new Error('--dtype: float32 or bfloat16');
const dtype = values.dtype;
if (dtype === 'bfloat16') console.error(`bfloat16 instructions of this processor: ${bfloat16Instructions()}`);
const ours = values.ours.split(',').map((name) => {
  if (!(name in cpuSides))
    throw new Error(`--ours: expected ${Object.keys(cpuSides).join(', ')}, found ${name}`);
  return name as Side;
});
const rows: Row[] = [];
for (const subject of await subjects(
  names,
  values.rounds === undefined ? undefined : Number(values.rounds),
)) {
  for (const lean of [false, true].filter((lean) => (lean ? !values.full : !values.lean))) {
    const { rows: some, loaded } = await measure(subject, lean, ours);
    rows.push(...some);
    for (const row of some) {
      console.error(
        `${row.subject}, ${row.ours} against ${row.baseline} (torch ${loaded.torch}, images by ${loaded.images}): ` +
          `${row.oursMs.toFixed(1)} ms against ${row.baselineMs.toFixed(1)} ms (${row.baselineModelMs.toFixed(1)} in the model), ` +
          `core-ms ${row.oursCoreMs.toFixed(0)} against ${row.baselineCoreMs.toFixed(0)}, ` +
          `${row.ratio.toFixed(2)}x (${row.ratioMin.toFixed(2)} to ${row.ratioMax.toFixed(2)} over ${row.rounds} rounds), ` +
          `actions differ by ${row.difference.toExponential(1)}`,
      );
    }
  }
}
if (values.json) console.log(JSON.stringify(rows, null, 2));
