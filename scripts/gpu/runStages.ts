/**
 * Runs stages one after the other, each a process of its own with a time limit: one that crashes or hangs is named, and the next
 * one begins. Goes on where an earlier run ended, also where that was killed in the middle of a stage.
 */

import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { homedir, hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import type { Context, StageName } from './context.ts';
import { type Figures, readFigures, type StageRecord, type StageResult, writeJson } from './figures.ts';
import { type Command, stageNames, stages } from './stages.ts';

export interface RunOptions {
  /** In the order of `stages`, whatever theirs. */
  readonly names: readonly StageName[];
  /** Seconds for all; a stage that would get less than ten is left for a later run. */
  readonly budget: number;
  /** Seconds that a stage may take at most, whatever its own limit. */
  readonly limit: number;
  readonly say: (line: string) => void;
}

/** Tries of a stage that ended without a word, since it may have taken the machine along. */
const mostAttempts = 2;
const leastSeconds = 10;
const marker = 'SEMANTICVLA_GPU_STAGE';

export const figuresFile = (context: Pick<Context, 'out'>): string => join(context.out, 'figures.json');

/** @returns all figures, of earlier runs too */
export async function runStages(context: Context, options: RunOptions): Promise<Figures> {
  const file = figuresFile(context);
  let figures = readFigures(file, context.rehearsal);
  const started = performance.now();
  const note = (name: StageName, told: StageRecord): void => {
    const record = withoutNames(context, told);
    figures = { ...figures, stages: { ...figures.stages, [name]: record } };
    writeJson(file, figures);
    if (record.status !== 'running') options.say(sentence(name, record));
  };
  for (const name of stageNames.filter((one) => options.names.includes(one))) {
    const before = figures.stages[name];
    if (before?.status === 'passed' || before?.status === 'failed') continue;
    const attempts = (before?.attempts ?? 0) + 1;
    const at = new Date().toISOString();
    const ended = { attempts: attempts - 1, seconds: 0, at };
    if (before?.status === 'running') {
      endLeftover(before.pid, markerOf(context, name));
      if (attempts > mostAttempts) {
        const reason = `ended ${mostAttempts} runs without saying how`;
        note(name, { ...ended, status: 'failed', reason, ...partial(context, name) });
        continue;
      }
    }
    const lacking = stages[name].after.find((one) => !mayFollow(figures.stages[one]));
    if (lacking !== undefined) {
      note(name, { ...ended, status: 'skipped', reason: `it needs "${lacking}", which did not pass` });
      continue;
    }
    const command = commandOf(context, name);
    if (command === null) {
      note(name, { ...ended, status: 'passed', reason: 'nothing to do' });
      continue;
    }
    if (typeof command === 'string') {
      note(name, { ...ended, status: 'skipped', reason: command });
      continue;
    }
    const left = options.budget - (performance.now() - started) / 1000;
    // a CPU in the GPU's place takes longer
    const own = stages[name].limit * (context.rehearsal ? 10 : 1);
    const seconds = Math.min(own, options.limit, left);
    if (left < leastSeconds) {
      options.say(`- ${name}: left for a later run, since the time of this one is over`);
      break;
    }
    rmSync(resultFile(context, name), { force: true });
    const outcome = await runOne(context, name, command, seconds, (pid) =>
      note(name, { status: 'running', attempts, seconds: 0, at, pid }),
    );
    note(name, { ...outcome, attempts, at, ...partial(context, name) });
  }
  return figures;
}

/** What was skipped or had nothing to do does not stand in the way, except where it failed or lacked something itself. */
function mayFollow(record: StageRecord | undefined): boolean {
  if (record === undefined) return true;
  return (
    record.status === 'passed' || (record.status === 'skipped' && !record.reason?.startsWith('it needs'))
  );
}

function commandOf(context: Context, name: StageName): Command | string | null {
  try {
    return stages[name].command(context);
  } catch (error) {
    return (error as Error).message;
  }
}

/** The result as far as it was written, also by a stage that died. */
export function partial(context: Pick<Context, 'out'>, name: StageName): { result?: StageResult } {
  try {
    return { result: JSON.parse(readFileSync(resultFile(context, name), 'utf8')) as StageResult };
  } catch {
    return {};
  }
}

export const resultFile = ({ out }: Pick<Context, 'out'>, name: StageName): string =>
  join(out, `${name}.json`);
const markerOf = ({ out }: Context, name: StageName): string => `${marker}=${out} ${name}`;

type Outcome = Pick<StageRecord, 'status' | 'seconds' | 'reason'>;

async function runOne(
  context: Context,
  name: StageName,
  { program, args, env }: Command,
  limit: number,
  begun: (pid: number) => void,
): Promise<Outcome> {
  const log = join(context.out, `${name}.log`);
  const output = openSync(log, 'w');
  const start = performance.now();
  const child = spawn(program, args, {
    cwd: context.root,
    env: { ...process.env, ...env, [marker]: `${context.out} ${name}` },
    stdio: ['ignore', output, output],
    // a group of its own, so that compilers and tools that it started end with it
    detached: true,
  });
  closeSync(output);
  if (child.pid !== undefined) begun(child.pid);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup(child.pid);
  }, limit * 1000);
  const [code, signal, error] = await new Promise<[number | null, NodeJS.Signals | null, Error | null]>(
    (resolve) => {
      child.once('error', (cause) => resolve([null, null, cause]));
      child.once('close', (status, by) => resolve([status, by, null]));
    },
  );
  clearTimeout(timer);
  const seconds = Math.round((performance.now() - start) / 100) / 10;
  const text = readFileSync(log, 'utf8');
  const { read } = stages[name];
  if (read !== undefined) writeJson(resultFile(context, name), read(text));
  if (code === 0) return { status: 'passed', seconds };
  const how =
    error?.message ??
    (timedOut
      ? `no end within its ${Math.round(limit)} s`
      : signal === null
        ? `code ${code}`
        : `signal ${signal}`);
  const last = text.trim().split('\n').slice(-3).join(' / ').slice(-600);
  return { status: 'failed', seconds, reason: last === '' ? how : `${how}: ${last}` };
}

/** Figures are shown to others: folders, host and user say whose machine it is, and nothing else. */
function withoutNames({ root, out, work }: Context, record: StageRecord): StageRecord {
  const names: [string, string][] = [
    [work, 'WORK'],
    [out, 'OUT'],
    [root, '.'],
    [homedir(), '~'],
    [`/${userName()}`, '/USER'],
    [hostname(), 'HOST'],
  ];
  const text = names.reduce(
    (before, [name, instead]) =>
      // a name within a word is another word
      before.replaceAll(
        new RegExp(`(?<![\\w-])${name.replaceAll(/[^\w]/g, '\\$&')}(?![\\w-])`, 'g'),
        instead,
      ),
    JSON.stringify(record),
  );
  return JSON.parse(text) as StageRecord;
}

/** A container may have a user without a name. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return 'root';
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // it has ended
  }
}

/** A stage outlives a run that is killed. Its number may be another process's by now, so its environment is asked. */
function endLeftover(pid: number | undefined, mark: string): void {
  if (pid === undefined || !existsSync(`/proc/${pid}/environ`)) return;
  if (readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(mark)) killGroup(pid);
}

function sentence(name: StageName, { status, seconds, reason, attempts }: StageRecord): string {
  const time = status === 'skipped' || seconds === 0 ? '' : ` in ${seconds} s`;
  const again = attempts > 1 ? `, at attempt ${attempts}` : '';
  return `- ${name}: ${status}${time}${again}${reason === undefined ? '' : `: ${reason}`}`;
}
