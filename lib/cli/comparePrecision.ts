/** `semanticvla compare-precision`: a policy in 8 bits beside itself in float32, and whether it may be used. */

import { type Command, Option } from 'commander';
import { tiers } from '../graph/tiers.ts';
import { storedObservations } from '../observation/storedObservations.ts';
import { comparePrecision, type PrecisionComparison } from '../policy/comparePrecision.ts';
import { precisionLimits } from '../policy/precisionGate.ts';
import { cpuPrecisions, type RoundedPrecision } from '../policy/runtimeOptions.ts';
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
  tensorRtFlag,
  threadsFlag,
} from './flags.ts';
import { formatTable } from './format.ts';

interface CompareFlags extends Omit<Partial<PolicyFlags>, 'precision'> {
  readonly observations: readonly string[];
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

Example:
  $ semanticvla compare-precision policy --precision int8 --observations recorded/`;

const percent = (value: number | null): string => (value === null ? '-' : `${(100 * value).toFixed(2)} %`);

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
  const verdict = gate.failures.length === 0 ? 'passed' : `FAILED: ${gate.failures.join('; ')}`;
  return [
    `${precision}${runsOn === 'cpu' ? '' : ` (${runsOn})`} beside float32 on ${figures.observations} observations, ${layers.length} layers, activations of ${activationBits} bits`,
    '',
    formatTable(rows, ['left']),
    '',
    verdict,
    `kept in ${gate.file}`,
  ].join('\n');
}

async function compare(context: CommandContext, checkpoint: string, flags: CompareFlags): Promise<number> {
  const { observations, precision, instruction, json, ...rest } = flags;
  const { precision: _, ...options } = policyOptions(rest);
  const tasks = await storedObservations(observations, instruction);
  const result = await comparePrecision(checkpoint, tasks, { ...options, ...hooksOf(context), precision });
  if (json) context.json(result);
  else context.print(precisionText(result));
  return result.failures.length === 0 ? exitCodes.ok : exitCodes.refused;
}

export function comparePrecisionCommand(program: Command, run: Run): void {
  const command = program
    .command('compare-precision')
    .description('A policy in 8 bits beside itself in float32 on stored observations: may it be used?')
    .argument('<checkpoint>', checkpointArgument)
    .addOption(new Option('--precision <type>', 'what is compared').choices(rounded).default('int8'))
    .requiredOption('--observations <dir...>', 'folders with observations, episodes among them')
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
