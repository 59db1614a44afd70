/**
 * The scheduling modes compared for a latency: a table, a page with plots, and the plots of docs/choosingAMode.md.
 *
 *   node --import tsx bench/modes/compare.ts --latency 'lognormal(80, 0.3)' --rate 20 --chunk 8 --out modes.html
 *
 * The plant is one joint after a jumping target, and the policy a simulated one: this ranks modes for a latency and predicts
 * no success rate. The same seed gives the same page.
 */

import { Command, InvalidArgumentError } from 'commander';
import { wholeNumber } from '../../lib/cli/flags.ts';
import { formatTable } from '../../lib/cli/format.ts';
import { writeOutput } from '../../lib/cli/outputFile.ts';
import { runProgram } from '../runProgram.ts';
import { type Comparison, compareModes } from './compareModes.ts';
import { readLatency } from './latencyFile.ts';
import { comparisonPage, comparisonPlots } from './page.ts';

interface CompareFlags {
  readonly latency: string;
  readonly rate: number;
  readonly chunk: number;
  readonly maxAge?: number;
  readonly lost?: number;
  readonly seconds?: number;
  readonly seed?: number;
  readonly out?: string;
  readonly plots?: string;
  readonly json?: boolean;
}

/** For commander: a number > 0. */
function positive(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0 && Number.isFinite(value)))
    throw new InvalidArgumentError('Expected a number > 0.');
  return value;
}

/** For commander: a share below 1. */
function share(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value < 1))
    throw new InvalidArgumentError('Expected a share in 0..1.');
  return value;
}

function figuresText({ modes, ideal }: Comparison): string {
  const rows = [...modes, { name: 'no latency, every tick', figures: ideal }].map(({ name, figures }) => [
    name,
    figures.reaction.median.toFixed(0),
    figures.reaction.p90.toFixed(0),
    Number(figures.jerk.toPrecision(3)).toLocaleString('en-US'),
    `${(100 * figures.idle).toFixed(1)} %`,
    figures.newestAge.toFixed(0),
    figures.oldestAge.toFixed(0),
  ]);
  const head = ['mode', 'reaction ms', '90 %', 'jerk rad/s3', 'idle', 'newest ms', 'oldest ms'];
  return formatTable([head, ...rows], ['left']);
}

async function compare(flags: CompareFlags): Promise<void> {
  const { out, plots, json, latency: given, ...rest } = flags;
  const comparison = await compareModes({ ...rest, latency: await readLatency(given) });
  if (out !== undefined) await writeOutput(out, Buffer.from(await comparisonPage(comparison)));
  if (plots !== undefined) {
    for (const [name, svg] of Object.entries(await comparisonPlots(comparison)))
      await writeOutput(`${plots}-${name}.svg`, Buffer.from(svg));
  }
  if (json) {
    const { latency, rate, chunk, maxAge, ideal, sweeps } = comparison;
    const modes = comparison.modes.map(({ name, figures }) => ({ name, ...figures }));
    console.log(JSON.stringify({ latency, rate, chunk, maxAge, ideal, modes, sweeps }));
    return;
  }
  console.log(figuresText(comparison));
  if (out !== undefined) console.log(out);
}

const program = new Command('compare.ts')
  .description('Scheduling modes compared for a latency: smoothness, staleness, idle ticks, reaction time.')
  .requiredOption(
    '--latency <what>',
    'milliseconds, a formula such as lognormal(80, 0.3), or a file of milliseconds (a JSON list, or numbers with white space between)',
  )
  .requiredOption('--rate <hz>', 'ticks a second', positive)
  .requiredOption('--chunk <n>', 'rows of a chunk', wholeNumber(2))
  .option(
    '--max-age <ms>',
    'oldest observation to act on; default: a chunk and nearly every latency',
    positive,
  )
  .option('--lost <share>', 'calls that are never answered', share)
  .option('--seconds <n>', 'simulated seconds of each mode; default: 120', positive)
  .option('--seed <n>', 'default: 1', wholeNumber(0))
  .option('--out <file.html>', 'page to write')
  .option('--plots <prefix>', 'writes each plot to <prefix>-NAME.svg')
  .option('--json', 'print JSON')
  .action(compare);

await runProgram(program);
