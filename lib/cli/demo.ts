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
    'a CPU from 546 scripted episodes in the scenes of LIBERO-Object. The scenes on this page were not in its training, nor were the second and the ' +
    'third sentence; their words were.',
  'Where the pruner looks was taught: training had a loss on the patch scores that pulls them to the object that the sentence names. It did not ' +
    "emerge. In closed loop it put the named object into the basket in 460 of 500 of LIBERO's official states, where a blind replay succeeds in 38 of 50, " +
    'and in 76 of 100 scenes with everything anywhere and any object named. None of this is comparable with published figures on LIBERO.',
  'models/libero/MODEL_CARD.md in the package has data, task, figures with intervals, limits and licences.',
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
    { checkpoint, name: 'libero', options: policyOptions(flags) },
    [{ dataset, numbers: dataset.numbers }],
    { every: 1 },
  );
  const { evaluationPage } = await import('../evaluate/page/evaluationPage.ts');
  const page = await evaluationPage([evaluation], {
    title: 'A policy puts into the basket what the sentence says',
    notes,
  });
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
