/**
 * Success and steps by scheduling mode and latency, in the simulator in which the policy of models/cubes was trained (training/README.md).
 *
 *   node --import tsx bench/simulation/closedLoop.ts --out closedLoop.jsonl
 *   node --import tsx bench/simulation/closedLoop.ts --out closedLoop.jsonl --latency 0,100 --mode 'open loop; asynchronous' --count 10
 *   node --import tsx bench/simulation/closedLoop.ts --out served.jsonl --server http://127.0.0.1:8777
 *
 * The control loop runs in virtual time, so latencies are exact and nothing depends on this machine's speed; chunks are computed by
 * the policy itself, or by a server of it (http:// for `/act`, ws:// for openpi's protocol). Each finished episode is one line of the file;
 * a run that was interrupted goes on behind the last of them. Every mode and latency gets the same scenes.
 */

import { appendFile, truncate } from 'node:fs/promises';
import { Command } from 'commander';
import { wholeNumber } from '../../lib/cli/flags.ts';
import { formatTable } from '../../lib/cli/format.ts';
import { writeOutput } from '../../lib/cli/outputFile.ts';
import { connectAct, connectOpenpi } from '../../lib/client/connect.ts';
import { packedCheckpoint } from '../../lib/example/packedCheckpoint.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { isThere, readText } from '../../lib/support/fileAccess.ts';
import type { Policy } from '../../lib/types.ts';
import { readLatency } from '../modes/latencyFile.ts';
import { runProgram } from '../runProgram.ts';
import { type Episode, runEpisode } from './episode.ts';
import { type Cell, cells, type Line } from './figures.ts';
import { modes } from './modes.ts';
import { closedLoopPlots } from './plots.ts';
import { Simulator } from './simulator.ts';

interface Flags {
  readonly out: string;
  readonly checkpoint?: string;
  readonly server?: string;
  readonly family: string;
  readonly latency: string;
  readonly mode?: string;
  readonly count: number;
  readonly first: number;
  readonly most: number;
  readonly plots?: string;
}

const rate = 20;
const cap = 64 << 20;

async function openPolicy({ checkpoint, server }: Flags): Promise<Policy> {
  if (server === undefined) return loadPolicy(checkpoint ?? (await packedCheckpoint('cubes', {})));
  const options = { deadlineMs: 60_000 };
  return server.startsWith('ws') ? connectOpenpi(server, options) : connectAct(server, options);
}

async function readLines(file: string): Promise<Line[]> {
  if (!(await isThere(file, 'OPTION_INVALID'))) return [];
  const text = await readText(file, { missing: 'OPTION_INVALID', cap });
  // a line without its end was cut off when the run was killed; the next one must not continue it
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  if (whole !== text) await truncate(file, Buffer.byteLength(whole));
  return whole
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line);
}

/** Commas inside parentheses belong to a formula. */
const listed = (text: string): string[] => text.split(/,(?![^(]*\))/).map((part) => part.trim());

function chosenModes(given: string | undefined): string[] {
  const names = given === undefined ? Object.keys(modes) : given.split(/\s*;\s*/);
  const unknown = names.find((name) => !(name in modes));
  if (unknown === undefined) return names;
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `--mode: expected names from "${Object.keys(modes).join('; ')}", found "${unknown}".`,
  );
}

function summary(figures: readonly Cell[]): string {
  const rows = figures.map(({ mode, latency, success, count, interval, another, steps, held, calls }) => [
    mode,
    latency,
    `${success} of ${count}`,
    interval.map((share) => share.toFixed(2)).join(' to '),
    String(another),
    String(steps ?? ''),
    `${(100 * held).toFixed(0)} %`,
    calls.toFixed(1),
  ]);
  const head = ['mode', 'latency', 'success', '95 %', 'another', 'median steps', 'held', 'predictions'];
  return formatTable([head, ...rows], ['left']);
}

async function run(flags: Flags): Promise<void> {
  const { out, family, count, first, most, server, checkpoint } = flags;
  const names = chosenModes(flags.mode);
  const latencies = listed(flags.latency);
  const policyName = server ?? checkpoint ?? 'models/cubes';
  const lines = await readLines(out);
  const key = ({
    mode,
    latency,
    seed,
    family,
    policy,
  }: Omit<Line, keyof Episode> & { seed: number }): string =>
    JSON.stringify([mode, latency, seed, family, policy]);
  const done = new Set(lines.map(key));
  const policy = await openPolicy(flags);
  const simulator = new Simulator();
  const seeds = new Set<number>();
  try {
    for (let seed = first, scenes = 0; scenes < count; seed++) {
      if ((await simulator.reset(seed, family)).task === null) continue;
      scenes++;
      seeds.add(seed);
      for (const given of latencies) {
        for (const mode of names) {
          const facts = { mode, latency: given, family, policy: policyName };
          if (done.has(key({ ...facts, seed }))) continue;
          const { task, ...start } = await simulator.reset(seed, family);
          const episode = await runEpisode({
            simulator,
            start: { ...start, task: task! },
            policy,
            make: modes[mode]!,
            latency: await readLatency(given),
            seed,
            rate,
            mostSteps: most,
          });
          lines.push({ ...facts, ...episode });
          await appendFile(out, `${JSON.stringify(lines.at(-1))}\n`);
        }
      }
      console.error(`scene ${scenes} of ${count} (seed ${seed})`);
    }
  } finally {
    simulator.close();
    await policy.close();
  }
  const asked = (line: Line): boolean =>
    seeds.has(line.seed) &&
    names.includes(line.mode) &&
    latencies.includes(line.latency) &&
    line.family === family &&
    line.policy === policyName;
  const figures = cells(lines.filter(asked));
  console.log(summary(figures));
  for (const [name, svg] of Object.entries(flags.plots === undefined ? {} : await closedLoopPlots(figures)))
    await writeOutput(`${flags.plots}-${name}.svg`, Buffer.from(svg));
}

const program = new Command('closedLoop.ts')
  .description('Success and steps in the simulator by scheduling mode and latency.')
  .requiredOption('--out <file.jsonl>', 'one line an episode; a run goes on behind those that are there')
  .option('--checkpoint <folder>', 'default: the policy of models/cubes')
  .option('--server <url>', 'a server of the policy instead: http://HOST:PORT or ws://HOST:PORT')
  .option('--family <name>', 'sentences: colour, side, next', 'colour')
  .option('--latency <list>', 'milliseconds or formulas such as lognormal(80, 0.3)', '0,50,100,200,300,400')
  .option('--mode <list>', 'names, separated by semicolons; default: all')
  .option('--count <n>', 'scenes', wholeNumber(1), 40)
  .option(
    '--first <seed>',
    'first seed; those from 1000000 on were not trained on',
    wholeNumber(0),
    1_000_000,
  )
  .option('--most <steps>', 'steps after which an episode has failed', wholeNumber(1), 240)
  .option('--plots <prefix>', 'writes <prefix>-success.svg and <prefix>-steps.svg')
  .action(run);

await runProgram(program);
