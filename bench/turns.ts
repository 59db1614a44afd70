/**
 * One policy's precisions on the CPU by turns, a process each, for policies of which memory holds one at a time.
 *
 *   node --import tsx bench/turns.ts CHECKPOINT --out turns.jsonl [--sides int8,mapped] [--rounds 3] [--predictions 2] [--threads 1]
 *     [--most N]
 *
 * A turn loads, predicts once to warm up (weights that are mapped come from the disk then), predicts `--predictions` times, and
 * says the time of the clock and of the processor (core-seconds, all threads) of the fastest one, and what was resident after it.
 * Each turn is one line of the file; turns that are in it are not taken again, and `--most` ends a run after so many.
 */

import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { formatTable } from '../lib/cli/format.ts';
import { readObservation } from '../lib/observation/readObservation.ts';
import { loadPolicy } from '../lib/policy/loadPolicy.ts';
import { cpuSides, type Side } from './cpuSides.ts';

const observationDir = fileURLToPath(new URL('../test/golden/libero-tiny/obs0', import.meta.url));
const instruction = 'pick up the black bowl between the plate and the ramekin and place it on the plate';

interface Turn {
  readonly side: Side;
  readonly round: number;
  readonly loadSeconds: number;
  readonly seconds: number;
  readonly coreSeconds: number;
  /** Resident after the predictions, GB: all of it, and without what is mapped from files. */
  readonly residentGb: number;
  readonly anonymousGb: number;
  /** Largest while it was loaded or predicted. */
  readonly peakGb: number;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    out: { type: 'string' },
    sides: { type: 'string', default: 'int8,mapped' },
    rounds: { type: 'string', default: '3' },
    predictions: { type: 'string', default: '2' },
    threads: { type: 'string', default: '1' },
    most: { type: 'string' },
    round: { type: 'string' },
  },
});
const [checkpoint] = positionals;
if (checkpoint === undefined || values.out === undefined) throw new Error('CHECKPOINT --out FILE');
const sides = values.sides.split(',').map((name) => {
  if (!(name in cpuSides))
    throw new Error(`--sides: expected ${Object.keys(cpuSides).join(', ')}, found ${name}`);
  return name as Side;
});

/** From /proc, in GB. */
function memory(field: string): number {
  const found = new RegExp(`^${field}:\\s*(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'));
  return (Number(found?.[1] ?? Number.NaN) * 1024) / 1e9;
}

async function take(dir: string, side: Side, round: number): Promise<Turn> {
  const threads = Number(values.threads);
  const started = performance.now();
  const options = { platform: 'libero', threads, ...cpuSides[side], onNotice: () => {} } as const;
  await using policy = await loadPolicy(dir, options);
  const loadSeconds = (performance.now() - started) / 1000;
  const { observation } = await readObservation(observationDir);
  let [seconds, coreSeconds] = [Infinity, Infinity];
  for (let i = 0; i <= Number(values.predictions); i++) {
    const [start, cpu] = [performance.now(), process.cpuUsage()];
    await policy.predict(observation, { instruction, unnormKey: 'libero_spatial_no_noops' });
    const { user, system } = process.cpuUsage(cpu);
    if (i === 0) continue;
    seconds = Math.min(seconds, (performance.now() - start) / 1000);
    coreSeconds = Math.min(coreSeconds, (user + system) / 1e6);
  }
  return {
    ...{ side, round, loadSeconds, seconds, coreSeconds },
    residentGb: memory('VmRSS'),
    anonymousGb: memory('RssAnon'),
    peakGb: memory('VmHWM'),
  };
}

const known = (file: string): Turn[] =>
  existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Turn)
    : [];

if (values.round !== undefined) {
  appendFileSync(values.out, `${JSON.stringify(await take(checkpoint, sides[0]!, Number(values.round)))}\n`);
} else {
  let left = Number(values.most ?? Infinity);
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const side of sides) {
      if (known(values.out).some((turn) => turn.side === side && turn.round === round)) continue;
      if (left-- <= 0) process.exit(0);
      const own = ['out', 'predictions', 'threads'].flatMap((name) => [
        `--${name}`,
        String(values[name as 'out']),
      ]);
      const args = ['--import', 'tsx', fileURLToPath(import.meta.url), checkpoint, '--sides', side];
      const cwd = join(fileURLToPath(import.meta.url), '../..');
      const { status } = spawnSync(process.execPath, [...args, '--round', String(round), ...own], {
        stdio: 'inherit',
        cwd,
      });
      if (status !== 0) process.exit(1);
    }
  }
  const rows = known(values.out).map((turn) => [
    turn.side,
    ...[turn.round, turn.loadSeconds, turn.seconds, turn.coreSeconds].map((n) =>
      String(Number(n.toFixed(1))),
    ),
    ...[turn.residentGb, turn.anonymousGb, turn.peakGb].map((n) => n.toFixed(2)),
  ]);
  const head = ['side', 'round', 'load s', 's', 'core-s', 'resident GB', 'anonymous', 'peak'];
  console.log(formatTable([head, ...rows], ['left']));
}
