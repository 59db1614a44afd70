/** `semanticvla report`: saved measurements as a page. */

import { basename } from 'node:path';
import type { Command } from 'commander';
import { checkVega } from '../plots/drawPlot.ts';
import { joinReports } from '../profile/report/joinReports.ts';
import { readReport } from '../profile/report/readReport.ts';
import { writeReport } from '../profile/report/writeReport.ts';
import { type CommandContext, exitCodes, type Run } from './context.ts';
import { jsonFlag } from './flags.ts';
import { writeOutput } from './outputFile.ts';

interface ReportFlags {
  readonly out: string;
  readonly json?: boolean;
}

const example = `
One file that needs nothing else: no network, no script; it prints on A4. Several measurements are compared with the first, and
the page says that they are runs of their own.

Example:
  $ semanticvla report before.json after.json --out report.html`;

async function report(
  context: CommandContext,
  files: readonly string[],
  flags: ReportFlags,
): Promise<number> {
  checkVega(`--out ${flags.out}`);
  const reports = await Promise.all(files.map((file) => readReport(file)));
  const joined = joinReports(reports.map((one, i) => ({ name: basename(files[i]!, '.json'), report: one })));
  const page = Buffer.from(await writeReport(joined));
  await writeOutput(flags.out, page);
  const subjects = joined.subjects.map(({ subject }) => subject.name);
  if (flags.json) context.json({ out: flags.out, bytes: page.length, subjects });
  else context.print(`${flags.out}: ${subjects.join(', ')}`);
  return exitCodes.ok;
}

export function reportCommand(program: Command, run: Run): void {
  program
    .command('report')
    .description('Saved measurements as one HTML page: figures, plots, comparison.')
    .argument('<measurement...>', 'files that bench --report wrote')
    .requiredOption('--out <file.html>', 'page to write')
    .option(...jsonFlag)
    .addHelpText('after', example)
    .action((files: readonly string[], flags: ReportFlags) =>
      run((context, given) => report(context, files, given), flags),
    );
}
