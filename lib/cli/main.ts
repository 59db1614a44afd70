/** The `semanticvla` command line: one file per command; here they are assembled and run, and their errors are printed. */

import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { whenAborted } from '../support/abort.ts';
import { type ErrorCode, SemanticVlaError } from '../support/errors.ts';
import { benchCommand } from './bench.ts';
import { buildCommand } from './build.ts';
import { compareCommand } from './compare.ts';
import { comparePrecisionCommand } from './comparePrecision.ts';
import { type CommandContext, exitCodes, type Run } from './context.ts';
import { demoCommand } from './demo.ts';
import { doctorCommand } from './doctor.ts';
import { evaluateCommand } from './evaluate.ts';
import { exportCommand } from './export.ts';
import { inFlags } from './flagNames.ts';
import { inspectCommand } from './inspect.ts';
import { predictCommand } from './predict.ts';
import { profileCommand } from './profile.ts';
import { ProgressLine } from './progressLine.ts';
import { pullCommand } from './pull.ts';
import { reportCommand } from './report.ts';
import { rooflineCommand } from './roofline.ts';
import { serveCommand } from './serve.ts';
import { stagesCommand } from './stages.ts';
import { synthCommand } from './synth.ts';
import { viewCommand } from './view.ts';

const commands = [
  demoCommand,
  doctorCommand,
  pullCommand,
  inspectCommand,
  synthCommand,
  exportCommand,
  buildCommand,
  predictCommand,
  serveCommand,
  stagesCommand,
  compareCommand,
  comparePrecisionCommand,
  viewCommand,
  evaluateCommand,
  rooflineCommand,
  profileCommand,
  benchCommand,
  reportCommand,
];

/** After SIGINT a command has this long to clean up. */
const graceMs = 3000;

const help = `
Exit codes: 0 done; 1 a check said no (compare over its tolerance, inspect --verify); 2 an error, printed as
"CODE: message"; 3 a defect of this program; 130 cancelled. doctor and bench have more: semanticvla doctor --help.
With --json standard output holds one JSON value and nothing else: the result, or {"error": {"code", "message"}}; progress,
notices and logs go to standard error. A flag means the same in every command, and takes the unit in its <brackets>.
SEMANTICVLA_DEBUG=1 adds the stack of an error. SEMANTICVLA_CACHE names the cache folder.

Example:
  $ semanticvla synth tiny --out policy && semanticvla inspect policy`;

const commanderCodes: Readonly<Record<string, ErrorCode>> = {
  'commander.unknownOption': 'OPTION_UNKNOWN',
  'commander.unknownCommand': 'OPTION_UNKNOWN',
  'commander.missingArgument': 'OPTION_REQUIRED',
  'commander.missingMandatoryOptionValue': 'OPTION_REQUIRED',
  'commander.optionMissingArgument': 'OPTION_REQUIRED',
};

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly exitCode: number;
}

function describe(error: unknown): Failure {
  if (error instanceof SemanticVlaError)
    return { code: error.code, message: error.message, exitCode: exitCodes.error };
  if (error instanceof CommanderError) {
    const message = error.message.replace(/^error: /, '').replace(/\n/g, ' ');
    return { code: commanderCodes[error.code] ?? 'OPTION_INVALID', message, exitCode: exitCodes.error };
  }
  const message = error instanceof Error ? error.message : String(error);
  return {
    code: 'DEFECT',
    message: `${message}. This is a defect of semanticvla; SEMANTICVLA_DEBUG=1 shows where.`,
    exitCode: exitCodes.defect,
  };
}

function writeError(error: Omit<Failure, 'exitCode'>): void {
  process.stdout.write(`${JSON.stringify({ error })}\n`);
}

function report(error: unknown, asJson: boolean, command: Command | undefined): number {
  const { code, message: said, exitCode } = describe(error);
  const message = inFlags(said, command);
  if (asJson) writeError({ code, message });
  process.stderr.write(`${code}: ${message}\n`);
  if (process.env.SEMANTICVLA_DEBUG === '1' && error instanceof Error) {
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
      process.stderr.write(`${cause.stack}\n`);
    }
  }
  return exitCode;
}

function version(): string {
  const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
  return version;
}

/** Every command under one roof. Usage errors throw CommanderError instead of ending the process. */
export function buildProgram(run: Run): Command {
  const program = new Command('semanticvla')
    .description('Runs the SemanticVLA robot policy from a trained checkpoint.')
    .version(version())
    .addHelpText('after', help);
  for (const add of commands) add(program, run);
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({ outputError: () => {} });
    command.configureHelp({ helpWidth: 110, showGlobalOptions: false });
    if (command !== program) command.helpCommand(false);
  }
  return program;
}

/** Parses `args` (without node and script), runs the command, and resolves to the exit code. Never rejects. */
export async function main(args: readonly string[]): Promise<number> {
  const controller = new AbortController();
  const progress = new ProgressLine(process.stderr);
  let command: Command | undefined;
  /** Whether the one JSON value is on standard output already. */
  let answered = false;
  const context: CommandContext = {
    print: (text) => {
      progress.clear();
      process.stdout.write(`${text}\n`);
    },
    json: (value) => {
      answered = true;
      progress.clear();
      process.stdout.write(`${JSON.stringify(value)}\n`);
    },
    onProgress: progress.update,
    onNotice: ({ code, message }) => {
      progress.clear();
      process.stderr.write(`NOTICE ${code}: ${inFlags(message, command)}\n`);
    },
    signal: controller.signal,
  };
  const cancelled = new Promise<'cancelled'>((resolve) => {
    whenAborted(controller.signal, () => {
      setTimeout(() => resolve('cancelled'), graceMs).unref();
    });
  });
  const onInterrupt = (): void => {
    // The second Ctrl-C does not wait.
    if (controller.signal.aborted) process.exit(exitCodes.cancelled);
    controller.abort();
  };
  // Output that cannot be written, as on a full disk, is lost and ends nothing.
  process.stderr.on('error', () => {});
  // `semanticvla predict ... | head` ends the pipe early; that is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.ok);
    throw error;
  });

  let code: number = exitCodes.ok;
  const program = buildProgram(async (body, flags) => {
    process.on('SIGINT', onInterrupt);
    try {
      code = await body(context, flags);
    } finally {
      process.off('SIGINT', onInterrupt);
    }
  });
  command = program.commands.find((one) => one.name() === args[0]);
  const asJson = args.includes('--json');
  try {
    const done = await Promise.race([program.parseAsync(args, { from: 'user' }), cancelled]);
    if (done === 'cancelled') throw controller.signal.reason;
  } catch (error) {
    progress.clear();
    if (controller.signal.aborted) {
      process.stderr.write('cancelled\n');
      if (asJson && !answered) writeError({ code: 'CANCELLED', message: 'cancelled' });
      // Threads may still be computing abandoned work.
      process.exit(exitCodes.cancelled);
    }
    // --help and --version arrive as errors with code 0.
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok;
    // Without a command the help has been printed already.
    if (error instanceof CommanderError && error.code === 'commander.help') return exitCodes.error;
    return report(error, asJson && !answered, command);
  }
  progress.clear();
  return code;
}
