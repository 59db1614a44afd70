/** `semanticvla simulate`: the scheduling modes compared for a latency, as a page with plots. */

import { type Command, InvalidArgumentError } from 'commander';
import { checkVega } from '../plots/drawPlot.ts';
import { type CompareModesOptions, compareModes } from '../schedule/comparison/compareModes.ts';
import { comparisonPage, comparisonPlots } from '../schedule/comparison/page.ts';
import { type Latency, latencyForms, latencyFromText, parseLatency } from '../schedule/latency.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isThere, readText } from '../support/fileAccess.ts';
import { type CommandContext, exitCodes, type Run } from './context.ts';
import { wholeNumber } from './flags.ts';
import { formatTable } from './format.ts';
import { writeOutput } from './outputFile.ts';

interface SimulateFlags {
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

const example = `
Latency: a number of milliseconds, ${latencyForms.join(', ')}, or a file of measured milliseconds (a JSON list, or numbers with white space between).
The plant is one joint after a jumping target, and the policy a simulated one: the page ranks modes for a latency and
predicts no success rate. The same seed gives the same page.

Example:
  $ semanticvla simulate --latency 'lognormal(80, 0.3)' --rate 20 --chunk 8 --out modes.html`;

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

/** Bytes of measured latencies, a few million of them. */
const latencyCap = 32 * 2 ** 20;

/** A formula has parentheses, a number is a constant; anything else is a file. */
async function readLatency(given: string): Promise<Latency> {
  if (/[()]/.test(given)) return parseLatency(given);
  if (/^\d+(?:\.\d+)?$/.test(given)) return parseLatency(`constant(${given})`);
  if (!(await isThere(given, 'OPTION_INVALID'))) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `--latency ${given}: expected ${latencyForms.join(', ')} or a readable file of milliseconds, found no such file.`,
    );
  }
  return latencyFromText(await readText(given, { missing: 'OPTION_INVALID', cap: latencyCap }), given);
}

async function simulate(context: CommandContext, flags: SimulateFlags): Promise<number> {
  const { rate, chunk, maxAge, lost, seconds, seed, out, plots } = flags;
  if (out !== undefined || plots !== undefined)
    checkVega(out === undefined ? `--plots ${plots}` : `--out ${out}`);
  const optional = { maxAge, lost, seconds, seed };
  const given = Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined));
  const options: CompareModesOptions = { latency: await readLatency(flags.latency), rate, chunk, ...given };
  const comparison = await compareModes(options);
  if (out !== undefined) await writeOutput(out, Buffer.from(await comparisonPage(comparison)));
  if (plots !== undefined) {
    for (const [name, svg] of Object.entries(await comparisonPlots(comparison))) {
      await writeOutput(`${plots}-${name}.svg`, Buffer.from(svg));
    }
  }
  const { modes, ideal, sweeps, latency } = comparison;
  if (flags.json) {
    const summary = modes.map(({ name, figures }) => ({ name, ...figures }));
    context.json({ latency, rate, chunk, maxAge: comparison.maxAge, ideal, modes: summary, sweeps });
    return exitCodes.ok;
  }
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
  context.print(formatTable([head, ...rows], ['left']));
  if (out !== undefined) context.print(out);
  return exitCodes.ok;
}

export function simulateCommand(program: Command, run: Run): void {
  program
    .command('simulate')
    .description('Scheduling modes compared for a latency: smoothness, staleness, idle ticks, reaction time.')
    .requiredOption(
      '--latency <what>',
      'milliseconds, a formula such as lognormal(80, 0.3), or a file of milliseconds',
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
    .addHelpText('after', example)
    .action((flags: SimulateFlags) => run((context, given) => simulate(context, given), flags));
}
