/** `semanticvla compare`: stage-by-stage difference of two stage files. */

import type { Command } from 'commander';
import {
  compareStages,
  defaultTolerances,
  type StageComparison,
  type StageDifference,
} from '../stages/compareStages.ts';
import { readStages } from '../stages/stageFile.ts';
import { type CommandContext, exitCodes, type Run } from './context.ts';
import { jsonFlag, numberIn } from './flags.ts';
import { formatTable } from './format.ts';

interface CompareFlags {
  readonly atol: number;
  readonly actionsAtol: number;
  readonly strict?: boolean;
  readonly json?: boolean;
}

const example = `
B is the reference. Token ids, indices and masks must be equal; pictures may be one level off in 1 of 10,000 values
(rounding ties of the resize). 1e-3 for stages: values reach 20, and float32 in another order of operations stays under
1e-4. 5e-5 for normalized actions: another order moves them by 2e-6, the smallest mistakes (RMSNorm eps, tanh GELU) by
1e-4. Un-normalized actions: the same times their largest value, when that is above 1. Exit code 1 when a stage fails.

Example:
  $ semanticvla compare mine.safetensors reference.safetensors`;

function row(stage: StageDifference): string[] {
  const { name, passed, reason, dtype, shape, maxAbs, cosine, agreement } = stage;
  return [
    passed ? 'ok' : 'FAIL',
    name,
    `${dtype} [${shape.join(', ')}]`,
    maxAbs === null ? '-' : maxAbs === 0 ? '0' : maxAbs.toExponential(2),
    cosine === null ? '-' : cosine.toFixed(9),
    agreement === null ? '-' : `${(100 * agreement).toFixed(agreement === 1 ? 0 : 2)} %`,
    reason ?? '',
  ];
}

/** The comparison as text. */
export function comparisonText({ passed, stages, onlyA, onlyB }: StageComparison): string {
  const head = ['', 'stage', 'type', 'max abs', 'cosine', 'equal', ''];
  const lines = [
    formatTable([head, ...stages.map(row)], ['left', 'left', 'left', 'right', 'right', 'right', 'left']),
  ];
  if (onlyA.length > 0) lines.push(`only in A (${onlyA.length}): ${onlyA.join(', ')}`);
  if (onlyB.length > 0) lines.push(`only in B (${onlyB.length}): ${onlyB.join(', ')}`);
  const failed = stages.filter((stage) => !stage.passed);
  const first = failed[0] === undefined ? '' : `; the first that differs is ${failed[0].name}`;
  lines.push(
    `${passed ? 'equal' : 'DIFFERENT'}: ${stages.length} stages compared, ${failed.length} failed${first}`,
  );
  return lines.join('\n');
}

async function compare(context: CommandContext, a: string, b: string, flags: CompareFlags): Promise<number> {
  const { atol, actionsAtol } = flags;
  const [left, right] = await Promise.all([readStages(a), readStages(b)]);
  const result = compareStages(left, right, {
    tolerances: { atol, actionsAtol },
    strict: flags.strict === true,
  });
  if (flags.json) {
    // JSON has no NaN; the reason says so in words.
    const stages = result.stages.map((stage) => ({
      ...stage,
      maxAbs: Number.isFinite(stage.maxAbs) ? stage.maxAbs : null,
    }));
    context.json({ ...result, stages });
  } else {
    context.print(comparisonText(result));
  }
  return result.passed ? exitCodes.ok : exitCodes.refused;
}

export function compareCommand(program: Command, run: Run): void {
  program
    .command('compare')
    .description('Stage-by-stage difference of two stage files.')
    .argument('<a>', 'stage file to judge')
    .argument('<b>', 'stage file of the reference')
    .option('--atol <x>', 'largest absolute difference of float stages', numberIn(0), defaultTolerances.atol)
    .option(
      '--actions-atol <x>',
      'the same of normalized actions',
      numberIn(0),
      defaultTolerances.actionsAtol,
    )
    .option('--strict', 'stages on one side only are a failure')
    .option(...jsonFlag)
    .addHelpText('after', example)
    .action((a: string, b: string, flags: CompareFlags) =>
      run((context, given) => compare(context, a, b, given), flags),
    );
}
