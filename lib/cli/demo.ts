/** `semanticvla demo`: the trained policy that ships with the program, shown on episodes that it has not seen. */

import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Command } from 'commander';
import { openDataset } from '../dataset/openDataset.ts';
import { exampleCheckpoint } from '../example/exampleCheckpoint.ts';
import { exampleEpisodes } from '../example/exampleEpisodes.ts';
import { checkSharp } from '../support/sharp.ts';
import { type CommandContext, exitCodes, type Run } from './context.ts';
import { evaluatePolicy } from './evaluate.ts';
import { evaluationJson, evaluationText } from './evaluationText.ts';
import { cacheFlag, jsonFlag, policyOptions, threadsFlag } from './flags.ts';
import { writeOutput } from './outputFile.ts';

interface DemoFlags {
  readonly out: string;
  readonly threads?: number;
  readonly cache?: string;
  readonly json?: boolean;
}

const notes = [
  'The policy is small: 2.1 million trained parameters in the layout that SemanticVLA trains, two cameras of 112 pixels, learned from nothing on ' +
    'two CPU cores from 1,724 scripted episodes in a simulator (robosuite, a Panda arm and cubes of five colours). Scenes and sentences on this page were not ' +
    'in its training; their words were.',
  'Where the pruner looks was taught: training had a loss on the patch scores that pulls them to the cube that the sentence names. It did not ' +
    'emerge. In closed loop on unseen scenes it lifted the named cube in 100 of 100 ("grab the red cube"), 194 of 200 ("lift the left one") and 179 of 200 ' +
    '("pick up the block next to the red cube"). None of this is comparable with published figures on LIBERO.',
  'models/cubes/MODEL_CARD.md in the package has data, task, figures with intervals, limits and licences.',
];

const example = `
The policy is unpacked into the cache folder (24 MB) and opened from there as any other checkpoint; the last lines name that
folder, so that predict, view, serve and bench can be tried on it.

Example:
  $ semanticvla demo --out demo.html`;

async function demo(context: CommandContext, { out, ...flags }: DemoFlags): Promise<number> {
  checkSharp(`--out ${out}`);
  const { onNotice, signal } = context;
  const checkpoint = await exampleCheckpoint({
    onNotice,
    signal,
    ...(flags.cache === undefined ? {} : { cacheDir: flags.cache }),
  });
  const folders = await exampleEpisodes();
  const dataset = await openDataset(dirname(folders[0]!));
  const evaluation = await evaluatePolicy(
    context,
    { checkpoint, name: 'cubes', options: policyOptions(flags) },
    [{ dataset, numbers: dataset.numbers }],
    { every: 1 },
  );
  const { evaluationPage } = await import('../evaluate/page/evaluationPage.ts');
  const page = await evaluationPage([evaluation], { title: 'A policy picks what the sentence says', notes });
  await writeOutput(out, Buffer.from(page));
  const observation = join(folders[0]!, '000');
  if (flags.json) {
    context.json({ checkpoint, episodes: folders, out: resolve(out), ...evaluationJson(evaluation) });
    return exitCodes.ok;
  }
  context.print(evaluationText(evaluation));
  context.print(
    [
      '',
      `page        ${pathToFileURL(resolve(out))}`,
      `checkpoint  ${checkpoint}`,
      `observation ${observation}`,
    ].join('\n'),
  );
  return exitCodes.ok;
}

export function demoCommand(program: Command, run: Run): void {
  program
    .command('demo')
    .description('The trained policy in this package on recorded episodes that it has not seen, as a page.')
    .option('--out <file.html>', 'page to write', 'demo.html')
    .option(...threadsFlag)
    .option(...cacheFlag)
    .option(...jsonFlag)
    .addHelpText('after', example)
    .action((flags: DemoFlags) => run(demo, flags));
}
