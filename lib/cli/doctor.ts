/** `semanticvla doctor`: what this machine can run. */

import { type Command, Option } from 'commander';
import { type DoctorReport, diagnose } from '../doctor/diagnose.ts';
import { type CommandContext, exitCodes, type Run } from './context.ts';
import { cacheFlag, jsonFlag } from './flags.ts';
import { formatTable } from './format.ts';

interface DoctorFlags {
  readonly backend: 'cpu' | 'tensorrt';
  readonly cache?: string;
  readonly json?: boolean;
}

/** What is missing first decides the exit code. */
const cpuCodes: readonly (readonly [check: string, code: number])[] = [
  ['addon', 11],
  ['ONNX Runtime', 12],
  ['cache folder', 13],
];
const tensorRtCodes: readonly (readonly [check: string, code: number])[] = [
  ['GPU', 20],
  ['GPU driver', 21],
  ['TensorRT', 23],
  ['TensorRT module', 24],
  ['engine cache', 25],
];

const example = `
Exit codes: 0 everything for the backend is there; 11 the addon is not built; 12 ONNX Runtime does not load; 13 the cache
folder cannot be written. With --backend tensorrt also: 20 no GPU; 21 no driver; 23 no TensorRT; 24 no TensorRT module with
kernels; 25 the engine cache is refused. What is optional (sharp, vega) decides no exit code.

Example:
  $ semanticvla doctor`;

/** The report as one block to paste into a bug report. */
export function doctorText({ version, checks, backends }: DoctorReport): string {
  const marks = { ok: 'ok', absent: '-', missing: 'MISSING' } as const;
  const table = formatTable(
    [
      ['ok', 'semanticvla', version],
      ...checks.map(({ name, status, found }) => [marks[status], name, found]),
      [
        backends.cpu ? 'ok' : 'MISSING',
        'backend cpu',
        backends.cpu ? 'can predict' : 'cannot predict; see above',
      ],
      [
        backends.tensorrtLacks.length === 0 ? 'ok' : '-',
        'backend tensorrt',
        backends.tensorrtLacks.length === 0 ? 'can predict' : `lacks ${backends.tensorrtLacks.join(', ')}`,
      ],
    ],
    ['left', 'left', 'left'],
  );
  const fixes = checks.filter(({ fix }) => fix !== null).map(({ name, fix }) => `${name}:  ${fix}`);
  return fixes.length === 0 ? table : `${table}\n\nto install what is missing:\n${fixes.join('\n')}`;
}

/** See the exit codes in the help. */
export function doctorExitCode({ checks, backends }: DoctorReport, backend: DoctorFlags['backend']): number {
  const missing = new Set(checks.filter(({ status }) => status === 'missing').map(({ name }) => name));
  for (const [name, code] of cpuCodes) if (missing.has(name)) return code;
  if (backend === 'tensorrt') {
    for (const [name, code] of tensorRtCodes) if (backends.tensorrtLacks.includes(name)) return code;
  }
  return exitCodes.ok;
}

async function doctor(context: CommandContext, flags: DoctorFlags): Promise<number> {
  const report = diagnose(flags.cache === undefined ? {} : { cacheDir: flags.cache });
  if (flags.json) context.json(report);
  else context.print(doctorText(report));
  return doctorExitCode(report, flags.backend);
}

export function doctorCommand(program: Command, run: Run): void {
  program
    .command('doctor')
    .description('What this machine can run, what is missing, and the command that installs it.')
    .addOption(new Option('--backend <name>', 'runtime').choices(['cpu', 'tensorrt']).default('cpu'))
    .option(...cacheFlag)
    .option(...jsonFlag)
    .addHelpText('after', example)
    .action((flags: DoctorFlags) => run(doctor, flags));
}
