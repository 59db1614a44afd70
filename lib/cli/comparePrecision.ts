/** `semanticvla compare-precision`: a policy in 8 bits beside itself in float32, and whether it may be used. */

import type { Command } from 'commander';
import { tiers } from '../graph/tiers.ts';
import { storedObservations } from '../observation/storedObservations.ts';
import { type ClosedLoopFigures, readClosedLoop } from '../policy/closedLoop.ts';
import { comparePrecision, type PrecisionComparison } from '../policy/comparePrecision.ts';
import { precisionLimits } from '../policy/precisionGate.ts';
import { cpuPrecisions, type RoundedPrecision } from '../policy/runtimeOptions.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { present } from '../support/options.ts';
import { type CommandContext, exitCodes, hooksOf, type Run } from './context.ts';
import {
  addCheckpointFlags,
  addHeadFlags,
  addPlatformFlags,
  backendFlag,
  checkpointArgument,
  deviceFlag,
  jsonFlag,
  type PolicyFlags,
  policyOptions,
  precisionOption,
  tensorRtFlag,
  threadsFlag,
} from './flags.ts';
import { formatTable } from './format.ts';

interface CompareFlags extends Omit<Partial<PolicyFlags>, 'precision'> {
  readonly observations?: readonly string[];
  readonly closedLoop?: readonly string[];
  readonly precision: RoundedPrecision;
  readonly json?: boolean;
}

const rounded = [...new Set([...cpuPrecisions.filter((name) => name !== 'float32'), ...tiers])];

const example = `
Give observations of the task that the policy was trained for: what rounding does to random weights or pictures says nothing.
--backend says whose precision it is; it is compared with the CPU's float32.
Limits: mean action cosine >= ${precisionLimits.actionCosine}, mean change of normalized actions <= ${precisionLimits.meanChange}, kept patches >= ${100 * precisionLimits.keptEqual} % equal
one by one, gripper flips <= ${100 * precisionLimits.gripperFlips} %. The result is kept with the quantized weights: loading the policy in this precision
says that it failed, or that no comparison was made. Exit code 1 when it failed.
--closed-loop takes the results of one simulator, driven in float32 and in the other precision: files of
training/libero/evaluateSuite.py, training/evaluate.py or bench/simulation/closedLoop.ts. Episodes are paired by scene, at least 40;
success must not be below float32's 95 % interval. Without --observations they are added to the comparison that was made before.

Example:
  $ semanticvla compare-precision policy --precision int8 --observations recorded/
  $ semanticvla compare-precision policy --precision int8 --closed-loop float32.jsonl int8.jsonl`;

const percent = (value: number | null): string => (value === null ? '-' : `${(100 * value).toFixed(2)} %`);

/** Both successes, and in how many scenes the outcomes differ. */
function closedLoopText(loop: ClosedLoopFigures, precision: string): string {
  const interval = ([low, high]: readonly [number, number]): string =>
    `${low.toFixed(3)} to ${high.toFixed(3)}`;
  const rows = [
    ['closed loop', 'success', '95 %', 'alone'],
    [
      `float32 (${loop.policies[0]})`,
      `${loop.float32} of ${loop.pairs}`,
      interval(loop.float32Interval),
      String(loop.onlyFloat32),
    ],
    [
      `${precision} (${loop.policies[1]})`,
      `${loop.rounded} of ${loop.pairs}`,
      interval(loop.roundedInterval),
      String(loop.onlyRounded),
    ],
  ];
  return `${formatTable(rows, ['left'])}
scenes: ${loop.scenes}; so uneven a split of ${loop.onlyFloat32 + loop.onlyRounded} different outcomes has a chance of ${loop.chance.toFixed(2)} (McNemar) where precision changes nothing`;
}

/** The comparison as a person reads it. */
export function precisionText({
  precision,
  activationBits,
  runsOn,
  figures,
  layers,
  ...gate
}: PrecisionComparison): string {
  const limits = precisionLimits;
  const rows = [
    ['', 'found', 'limit'],
    ['action cosine, mean', figures.actionCosine.toFixed(5), `>= ${limits.actionCosine}`],
    ['action cosine, lowest', figures.lowestCosine.toFixed(5), ''],
    ['change of normalized actions, mean', figures.meanChange.toExponential(2), `<= ${limits.meanChange}`],
    ['change of normalized actions, largest', figures.largestChange.toExponential(2), ''],
    ['kept patches equal', percent(figures.keptEqual), `>= ${100 * limits.keptEqual} %`],
    ['gripper flips', percent(figures.gripperFlips), `<= ${100 * limits.gripperFlips} %`],
    ['layers, signal to noise, median', `${gate.medianDecibels.toFixed(1)} dB`, ''],
    ...layers.slice(0, 3).map(({ layer, decibels }) => [`  ${layer}`, `${decibels.toFixed(1)} dB`, '']),
  ];
  const compared = layers.length === 0 ? 'as compared before' : `${layers.length} layers`;
  const verdict = gate.failures.length === 0 ? 'passed' : `FAILED: ${gate.failures.join('; ')}`;
  return [
    `${precision}${runsOn === 'cpu' ? '' : ` (${runsOn})`} beside float32 on ${figures.observations} observations, ${compared}, activations of ${activationBits} bits`,
    '',
    formatTable(rows, ['left']),
    '',
    gate.closedLoop === undefined
      ? 'closed loop: not compared (--closed-loop)'
      : closedLoopText(gate.closedLoop, precision),
    '',
    verdict,
    `kept in ${gate.file}`,
  ].join('\n');
}

async function compare(context: CommandContext, checkpoint: string, flags: CompareFlags): Promise<number> {
  const { observations, closedLoop, precision, instruction, json, ...rest } = flags;
  if (observations === undefined && closedLoop === undefined)
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      'Expected --observations, --closed-loop or both, found neither.',
    );
  if (closedLoop !== undefined && closedLoop.length !== 2)
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `--closed-loop: expected two files, of float32 and of ${precision}, found ${closedLoop.length}.`,
    );
  const driven =
    closedLoop === undefined ? undefined : await readClosedLoop([closedLoop[0]!, closedLoop[1]!]);
  const { precision: _, ...options } = policyOptions(rest);
  const tasks = observations === undefined ? [] : await storedObservations(observations, instruction);
  const result = await comparePrecision(checkpoint, tasks, {
    ...options,
    ...hooksOf(context),
    precision,
    ...present({ closedLoop: driven }),
  });
  if (json) context.json(result);
  else context.print(precisionText(result));
  return result.failures.length === 0 ? exitCodes.ok : exitCodes.refused;
}

export function comparePrecisionCommand(program: Command, run: Run): void {
  const command = program
    .command('compare-precision')
    .description('A policy in 8 bits beside itself in float32 on stored observations: may it be used?')
    .argument('<checkpoint>', checkpointArgument)
    .addOption(precisionOption(rounded, 'what is compared').default('int8'))
    .option('--observations <dir...>', 'folders with observations, episodes among them')
    .option('--closed-loop <file...>', 'results in a simulator: of float32, and of the other precision')
    .option('--instruction <text>', 'what the robot should do; default: as recorded')
    .addOption(backendFlag())
    .option(...tensorRtFlag)
    .option(...deviceFlag)
    .option(...threadsFlag)
    .option(...jsonFlag);
  addCheckpointFlags(addHeadFlags(addPlatformFlags(command)))
    .addHelpText('after', example)
    .action((checkpoint: string, flags: CompareFlags) =>
      run((context, given) => compare(context, checkpoint, given), flags),
    );
}
