/** `semanticvla evaluate`: recorded episodes in, a policy's error out. */

import { resolve } from 'node:path';
import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { gripperKinds, type Turn, turns } from '../dataset/dataset.ts';
import { chooseNumbers, type NumberRange, parseNumbers } from '../dataset/episodeNumbers.ts';
import { openDataset } from '../dataset/openDataset.ts';
import { evaluateDataset, type Source } from '../evaluate/evaluateDataset.ts';
import type { Evaluation } from '../evaluate/evaluation.ts';
import { pairedChanges } from '../evaluate/pairedChanges.ts';
import { ResultsFile } from '../evaluate/resultsFile.ts';
import { actionUnits, unnormKeyOf } from '../policy/datasetUnits.ts';
import { loadPolicy } from '../policy/loadPolicy.ts';
import { partsOf } from '../policy/policyParts.ts';
import { present } from '../support/options.ts';
import { checkSharp } from '../support/sharp.ts';
import type { Policy, PolicyOptions } from '../types.ts';
import { type CommandContext, exitCodes, hooksOf, type Run } from './context.ts';
import {
  changesText,
  evaluationJson,
  evaluationText,
  type ReadSource,
  sourceJson,
  sourceText,
} from './evaluationText.ts';
import {
  addCheckpointFlags,
  addHeadFlags,
  addPlatformFlags,
  addRuntimeFlags,
  cameraKey,
  checkpointArgument,
  jsonFlag,
  nameList,
  type PolicyFlags,
  policyOptions,
  renamed,
  several,
  wholeNumber,
} from './flags.ts';
import { writeOutput } from './outputFile.ts';
import { type Several, type Variant, variantNames, variantsOf } from './variants.ts';

export interface EvaluateFlags extends Omit<PolicyFlags, 'observation' | keyof Several>, Several {
  readonly data: readonly string[];
  readonly episodes?: readonly NumberRange[];
  readonly every: number;
  readonly camera?: Readonly<Record<string, string>>;
  readonly stateKey?: readonly string[];
  readonly actionKey?: readonly string[];
  readonly rotate?: Turn;
  readonly gripper?: (typeof gripperKinds)[number];
  readonly results?: string;
  readonly html?: string;
  readonly json?: boolean;
}

const example = `
Recordings are known by their content: a LeRobot dataset (v2.0, v2.1, v3.0), episode folders, or observations as --observation
takes them (docs/evaluate.md). Where it cannot be told which of a recording's images, states or actions is meant, the error
lists their names. Errors are mean |policy - demonstrator|; "constant" is that of whoever always does the demonstrator's mean
action. The gripper agrees where both are on the same side of the middle of the demonstrator's range.

Example:
  $ semanticvla evaluate policy --data recorded/ --html evaluation.html
  $ semanticvla evaluate policy-a policy-b --data libero_spatial --episodes 0,3-5 --every 8 --json
  $ semanticvla evaluate policy --weights folded,mapped --data libero_spatial --results spatial.jsonl`;

/** For commander: `0,3-5`. */
function episodeNumbers(text: string): readonly NumberRange[] {
  const ranges = parseNumbers(text);
  if (ranges !== null) return ranges;
  throw new InvalidArgumentError('Expected numbers such as 0,3-5. (--data says where the recordings are.)');
}

/** Opens one policy and asks it about every episode. */
export async function evaluatePolicy(
  context: CommandContext,
  { checkpoint, name, options }: Variant,
  sources: readonly Source[],
  flags: Partial<EvaluateFlags> & { readonly every: number },
  file: ResultsFile | null = null,
): Promise<Evaluation & { readonly read: readonly ReadSource[]; readonly takenOver: number }> {
  await using policy = await loadPolicy(checkpoint, { ...options, ...hooksOf(context) });
  const total = sources.reduce((sum, { numbers }) => sum + numbers.length, 0);
  const results: Evaluation['results'][number][] = [];
  const read: ReadSource[] = [];
  let perUnit: readonly number[] | undefined;
  let takenOver = 0;
  for (const source of sources) {
    const before = results.length;
    const unnormKey = unnormKeyOf(policy, source.dataset.name);
    const units = actionUnits(policy, unnormKey);
    perUnit ??= units?.perUnit;
    let place = { index: 0, steps: 1 };
    let key = '';
    results.push(
      ...(await evaluateDataset(policy, source, {
        keys: keysOf(flags),
        ...(flags.rotate === undefined ? {} : { turn: flags.rotate }),
        ...(flags.gripper === undefined ? {} : { gripper: flags.gripper }),
        ...(flags.instruction === undefined ? {} : { instruction: flags.instruction }),
        ...(unnormKey === undefined ? {} : { unnormKey }),
        units,
        every: flags.every,
        signal: context.signal,
        onColumns: (columns) => {
          read.push({ ...source, columns, unnormKey });
          const { path, format } = source.dataset;
          const { instruction } = flags;
          key =
            file?.key({
              ...identityOf(policy, options),
              data: resolve(path),
              format,
              columns,
              unnormKey,
              instruction,
            }) ?? '';
        },
        known: (number) => {
          const known = file?.known(key, number, policy.dimensions) ?? [];
          takenOver += known.length;
          return known;
        },
        afterEpisode: async () => file?.flush(),
        onEpisode: (index, episode) => {
          place = { index, steps: episode.steps.at(-1)! + 1 };
        },
        onPrediction: (number, prediction) => {
          const { step } = prediction;
          file?.add(key, number, prediction);
          const done = Math.floor(10 * (before + place.index + (step + 1) / place.steps)) / 10;
          context.onProgress({ step: `evaluate ${name}`, done, total, unit: 'episodes' });
        },
      })),
    );
  }
  const { variant, platform, imageSize, patchGrid, dimensions } = policy;
  const facts = { variant, platform, imageSize, patchGrid, dimensions };
  return { name, policy: facts, results, read, takenOver, ...(perUnit === undefined ? {} : { perUnit }) };
}

/** What decides a policy's actions: its files as they are, and its options but for those of the machine. */
function identityOf(policy: Policy, options: PolicyOptions): Readonly<Record<string, unknown>> {
  const { threads: _, spin: __, cacheDir: ___, ...own } = options;
  const files = [...(partsOf(policy)?.parts.checkpoint.files ?? [])].map(
    ([name, { size, mtimeNs }]) => `${name} ${size} ${mtimeNs}`,
  );
  return { files, options: own, platform: policy.platform };
}

function keysOf({ camera, stateKey, actionKey }: Partial<EvaluateFlags>) {
  return {
    ...(camera === undefined ? {} : { cameras: camera }),
    ...(stateKey === undefined ? {} : { state: stateKey }),
    ...(actionKey === undefined ? {} : { action: actionKey }),
  };
}

async function evaluate(
  context: CommandContext,
  checkpoints: readonly string[],
  flags: EvaluateFlags,
): Promise<number> {
  if (flags.html !== undefined) checkSharp(`--html ${flags.html}`);
  const sources: Source[] = [];
  for (const path of flags.data) {
    const dataset = await openDataset(path);
    sources.push({ dataset, numbers: chooseNumbers(path, dataset.numbers, flags.episodes) });
  }
  const evaluations: Awaited<ReturnType<typeof evaluatePolicy>>[] = [];
  const { weights, precision, ...others } = flags;
  const variants = variantsOf(checkpoints, policyOptions(others), present({ weights, precision }));
  const file = flags.results === undefined ? null : await ResultsFile.open(flags.results);
  try {
    for (const variant of variants) {
      const evaluation = await evaluatePolicy(context, variant, sources, flags, file);
      evaluations.push(evaluation);
      if (!flags.json) printEvaluation(context, evaluation, evaluations.length === 1);
    }
  } finally {
    await file?.close();
  }
  if (flags.html !== undefined) {
    const { evaluationPage } = await import('../evaluate/page/evaluationPage.ts');
    const title = `${variantNames(variants)} beside the demonstrator`;
    await writeOutput(flags.html, Buffer.from(await evaluationPage(evaluations, { title })));
  }
  if (!flags.json && evaluations.length > 1) context.print(`${changesText(pairedChanges(evaluations))}\n`);
  if (flags.json) {
    const data = evaluations[0]!.read.map(sourceJson);
    context.json({
      data,
      policies: evaluations.map((one) => ({ ...evaluationJson(one), takenOver: one.takenOver })),
      changes: pairedChanges(evaluations),
    });
  } else if (flags.html !== undefined) context.print(`page  ${flags.html}`);
  return exitCodes.ok;
}

function printEvaluation(
  context: CommandContext,
  evaluation: Awaited<ReturnType<typeof evaluatePolicy>>,
  isFirst: boolean,
): void {
  const { name, read, takenOver } = evaluation;
  if (isFirst) context.print(`${read.map(sourceText).join('\n')}\n`);
  if (takenOver > 0) context.print(`${name}: ${takenOver} predictions of an earlier run are taken over\n`);
  context.print(`${evaluationText(evaluation)}\n`);
}

export function evaluateCommand(program: Command, run: Run): void {
  const command = program
    .command('evaluate')
    .description("A policy's actions beside those of recorded episodes: errors, gripper, kept patches, time.")
    .argument('<checkpoint...>', checkpointArgument)
    .requiredOption('--data <path...>', 'recordings: datasets, or folders of episodes or observations')
    .option('--episodes <numbers>', 'of each recording, e.g. 0,3-5; default: all', episodeNumbers)
    .option('--every <n>', 'fewest steps between two observations that are used', wholeNumber(1), 1)
    .option('--instruction <text>', 'what the robot should do; default: as recorded')
    .option(
      '--camera <camera=key>',
      'a camera of the policy and the image of the recording that it is; may be given for each',
      cameraKey,
    )
    .option('--state-key <names>', 'numbers of the recording that are the joint state, joined', nameList)
    .option('--action-key <names>', 'numbers of the recording that are the actions, joined', nameList)
    .addOption(
      new Option('--rotate <degrees>', 'how frames are turned first; default: as the kind of recording needs')
        .choices(turns.map(String))
        .argParser(degrees),
    )
    .addOption(
      new Option(
        '--gripper <kind>',
        'how the recording counts: libero, -1 open to 1 closed, or same, as the policy; default: by kind of recording',
      ).choices(gripperKinds),
    )
    .option(
      '--results <file.jsonl>',
      'keep every prediction in this file as it is made; run again, it goes on where it was',
    )
    .option('--html <file.html>', 'write a page: frames with kept patches, actions over time, figures')
    .option(...jsonFlag);
  renamed(command, '--turn', '--rotate DEGREES (bench --turn counts milliseconds)');
  several(addCheckpointFlags(addRuntimeFlags(addHeadFlags(addPlatformFlags(command)))), [
    '--weights',
    '--precision',
  ])
    .addHelpText('after', example)
    .action((checkpoints: readonly string[], flags: EvaluateFlags) =>
      run((context, given) => evaluate(context, checkpoints, given), flags),
    );
}

/** For commander. */
function degrees(text: string): Turn {
  const turn = turns.find((value) => String(value) === text);
  if (turn === undefined) throw new InvalidArgumentError(`Expected ${turns.join(' or ')}.`);
  return turn;
}
