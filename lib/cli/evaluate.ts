/** `semanticvla evaluate`: recorded episodes in, a policy's error out. */

import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import { type ActionErrors, actionErrors } from '../evaluate/actionErrors.ts';
import { evaluateEpisode } from '../evaluate/evaluateEpisode.ts';
import { type Evaluation, predictionErrors, stageMedians } from '../evaluate/evaluation.ts';
import { findEpisodes } from '../evaluate/findEpisodes.ts';
import { type Episode, readEpisode } from '../evaluate/readEpisode.ts';
import { loadPolicy } from '../policy/loadPolicy.ts';
import { checkSharp } from '../support/sharp.ts';
import { type CommandContext, exitCodes, hooksOf, type Run } from './context.ts';
import {
  addCheckpointFlags,
  addPlatformFlags,
  addRuntimeFlags,
  type PolicyFlags,
  policyOptions,
  wholeNumber,
} from './flags.ts';
import { formatMs, formatTable } from './format.ts';
import { writeOutput } from './outputFile.ts';

interface EvaluateFlags extends Omit<PolicyFlags, 'observation'> {
  readonly episodes: readonly string[];
  readonly every: number;
  readonly html?: string;
  readonly json?: boolean;
}

const example = `
An episode is a folder with episode.json, {"rate": 20, "instruction": "...", "actions": "actions.npy", "observations":
[{"step": 0, "folder": "000"}, ...]}, the demonstrator's actions [steps, dimensions], and observations as --observation takes
them. Errors are mean |policy - demonstrator| in the dataset's units; "constant" is that of whoever always does the
demonstrator's mean action. The gripper agrees where both are on the same side of the middle of the demonstrator's range.

Example:
  $ semanticvla evaluate policy --episodes recorded/ --html evaluation.html
  $ semanticvla evaluate policy-a policy-b --episodes recorded/ --every 8 --json`;

/** Opens one policy and asks it about every episode. */
export async function evaluatePolicy(
  context: CommandContext,
  checkpoint: string,
  name: string,
  episodes: readonly Episode[],
  flags: Omit<EvaluateFlags, 'episodes'>,
): Promise<Evaluation> {
  await using policy = await loadPolicy(checkpoint, { ...policyOptions(flags), ...hooksOf(context) });
  const total = episodes.reduce((sum, { shape }) => sum + shape[0], 0);
  const results: Evaluation['results'][number][] = [];
  let done = 0;
  for (const episode of episodes) {
    const result = await evaluateEpisode(policy, episode, {
      every: flags.every,
      signal: context.signal,
      ...(flags.instruction === undefined ? {} : { instruction: flags.instruction }),
      onPrediction: ({ step, rows }) =>
        context.onProgress({ step: `evaluate ${name}`, done: done + step + rows, total, unit: 'steps' }),
    });
    done += episode.shape[0];
    results.push(result);
  }
  const { variant, platform, imageSize, patchGrid, dimensions } = policy;
  return { name, policy: { variant, platform, imageSize, patchGrid, dimensions }, results };
}

/** As `--json` prints it. */
export function evaluationJson({ name, policy, results }: Evaluation): Record<string, unknown> {
  return {
    name,
    variant: policy.variant,
    ...actionErrors(results),
    milliseconds: Object.fromEntries(stageMedians(results).map(({ stage, ms }) => [stage, ms])),
    episodes: results.map((result) => ({
      name: result.episode.name,
      instruction: result.instruction,
      steps: result.episode.shape[0],
      ...actionErrors([result]),
      observations: result.predictions.map((prediction) => ({
        step: prediction.step,
        mean: predictionErrors(result, prediction).mean,
        milliseconds: prediction.chunk.timings.total,
      })),
    })),
  };
}

const three = (value: number): string => value.toFixed(3);
const share = (value: number | null): string =>
  value === null ? 'not moved' : `${(100 * value).toFixed(1)} %`;

/** Each observation, then each dimension, as a person reads them. */
export function evaluationText(evaluation: Evaluation): string {
  const { name, results } = evaluation;
  const blocks = results.map((result) => {
    const rows = result.predictions.map((prediction) => {
      const { mean, gripper } = predictionErrors(result, prediction);
      const { chunk, step } = prediction;
      const kept = Object.entries(chunk.keptPatches).map(([camera, list]) => `${camera} ${list.length}`);
      return [String(step), three(mean), share(gripper), formatMs(chunk.timings.total!), kept.join(', ')];
    });
    const table = formatTable(
      [['step', 'error', 'gripper', 'time', 'kept patches'], ...rows],
      ['right', 'right', 'right', 'right', 'left'],
    );
    return `"${result.instruction}"\n${table}\n`;
  });
  return `${name}\n\n${blocks.join('\n')}\n${errorsText(actionErrors(results))}`;
}

function errorsText({ compared, mean, dimensions, gripper }: ActionErrors): string {
  const rows = dimensions.map((one) => [one.name, three(one.mean), three(one.max), three(one.constant)]);
  const table = formatTable([['dimension', 'error', 'largest', 'constant'], ...rows], ['left']);
  return `${table}\n\n${compared} steps compared: mean error ${three(mean)}, gripper agrees in ${share(gripper)}`;
}

async function evaluate(
  context: CommandContext,
  checkpoints: readonly string[],
  flags: EvaluateFlags,
): Promise<number> {
  if (flags.html !== undefined) checkSharp(`--html ${flags.html}`);
  const episodes = await Promise.all((await findEpisodes(flags.episodes)).map(readEpisode));
  const evaluations: Evaluation[] = [];
  const names = checkpoints.map((checkpoint) => basename(resolve(checkpoint)));
  for (const [i, checkpoint] of checkpoints.entries()) {
    // checkpoints of the same name are told apart by their paths
    const name = names.indexOf(names[i]!) === names.lastIndexOf(names[i]!) ? names[i]! : checkpoint;
    const evaluation = await evaluatePolicy(context, checkpoint, name, episodes, flags);
    evaluations.push(evaluation);
    if (!flags.json) context.print(`${evaluationText(evaluation)}\n`);
  }
  if (flags.html !== undefined) {
    const { evaluationPage } = await import('../evaluate/page/evaluationPage.ts');
    const title = `${evaluations.map(({ name }) => name).join(', ')} beside the demonstrator`;
    await writeOutput(flags.html, Buffer.from(await evaluationPage(evaluations, { title })));
  }
  if (flags.json) context.json({ policies: evaluations.map(evaluationJson) });
  else if (flags.html !== undefined) context.print(`page  ${flags.html}`);
  return exitCodes.ok;
}

export function evaluateCommand(program: Command, run: Run): void {
  const command = program
    .command('evaluate')
    .description("A policy's actions beside those of recorded episodes: errors, gripper, kept patches, time.")
    .argument('<checkpoint...>', 'folders of trained policies')
    .requiredOption('--episodes <dir...>', 'folders of episodes, or folders that hold such')
    .option('--every <n>', 'fewest steps between two observations that are used', wholeNumber(1), 1)
    .option('--instruction <text>', 'what the robot should do; default: as recorded')
    .option('--html <file.html>', 'write a page: frames with kept patches, actions over time, figures')
    .option('--json', 'print JSON');
  addCheckpointFlags(addRuntimeFlags(addPlatformFlags(command)))
    .addHelpText('after', example)
    .action((checkpoints: readonly string[], flags: EvaluateFlags) =>
      run((context, given) => evaluate(context, checkpoints, given), flags),
    );
}
