/**
 * The test runner behind `npm test`: every test/**\/*.test.ts in its own process, at most two at a time.
 *
 * uvu alone has holes that this closes: a suite without `.run()`, a hook that throws, a forgotten `.only` and a silent
 * skip all look green there. So a file passes only when it printed uvu's totals, ran or loudly skipped at least one test,
 * passed all it ran, ended with code 0 and within its time. The last line is `N passed, N failed[, N skipped]`.
 *
 *   npm test                      all files
 *   npm test -- tokenizer stages  the files whose path contains one of the words
 *   npm test -- --after LOG WORD  those, and the files that skipped a test in the run that printed LOG or have long tests
 *                                 (SEMANTICVLA_LONG_TESTS); the last line counts what LOG says of the others
 *
 * Exit codes: 0 all passed, 1 something failed, 2 no file matches or a bad option.
 */

import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

interface FileResult extends Counts {
  /** Why the file counts as failed; empty when it passed. */
  readonly reasons: readonly string[];
  readonly output: string;
  readonly seconds: number;
}

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface RunnerOptions {
  readonly dir: string;
  /** What an earlier run printed about each file, by its path below the root; null: there was none. */
  readonly before: ReadonlyMap<string, Counts> | null;
  readonly filters: readonly string[];
  readonly jobs: number;
  readonly limitSeconds: number;
}

const root = resolve(fileURLToPath(import.meta.url), '../..');
const running = new Set<number>();

/** Files below `dir` that end in `.test.ts`, sorted by path. */
function findTests(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !file.includes('/node_modules/'))
    .sort();
}

/** What uvu cannot notice itself, read from the source: suites that never run and tests left out by `.only`. */
function sourceFaults(source: string): string[] {
  const faults: string[] = [];
  const suites = source.match(/=\s*suite\s*(<[^>]*>)?\(/g)?.length ?? 0;
  const runs = source.match(/\.run\(\)/g)?.length ?? 0;
  if (runs === 0) faults.push('it never calls .run(), so no test in it runs');
  else if (runs < suites) faults.push(`it makes ${suites} suites but runs ${runs} of them`);
  if (/\.only\(/.test(source)) faults.push('it uses .only(), which leaves its other tests out');
  return faults;
}

/** The figure after a label of uvu's closing block, from the last such block; null when none was printed. */
function total(output: string, label: string): number | null {
  const matches = [...output.matchAll(new RegExp(`^ {2}${label}:\\s+(\\d+)$`, 'gm'))];
  const last = matches.at(-1)?.[1];
  return last === undefined ? null : Number(last);
}

/** Runs `command` in its own process group, so that what a test started ends with it. */
function execute(
  file: string,
  limitSeconds: number,
): Promise<{ output: string; code: number | null; late: boolean }> {
  return new Promise((settle) => {
    const child = spawn(process.execPath, ['--import', 'tsx', file], {
      cwd: root,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined },
    });
    const pid = child.pid;
    let output = '';
    let late = false;
    const keep = (data: Buffer): void => {
      output += data.toString();
    };
    const endGroup = (): void => {
      if (pid === undefined) return;
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // The group is gone already.
      }
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => keep(Buffer.from(`${error.message}\n`)));
    if (pid !== undefined) running.add(pid);
    const timer = setTimeout(() => {
      late = true;
      endGroup();
    }, limitSeconds * 1000);
    child.on('exit', endGroup);
    child.on('close', (code) => {
      clearTimeout(timer);
      if (pid !== undefined) running.delete(pid);
      settle({ output, code, late });
    });
  });
}

async function runFile(file: string, limitSeconds: number): Promise<FileResult> {
  const started = performance.now();
  const { output, code, late } = await execute(file, limitSeconds);
  const seconds = (performance.now() - started) / 1000;
  const reasons = sourceFaults(readFileSync(file, 'utf8'));
  const ran = total(output, 'Total');
  const passed = total(output, 'Passed') ?? 0;
  const skipped = total(output, 'Skipped') ?? 0;
  const explained = output.match(/^SKIP \S/gm)?.length ?? 0;

  if (late) reasons.push(`it was stopped after ${limitSeconds} s`);
  else if (ran === null) reasons.push(`it ended with code ${code} before printing its totals`);
  else if (ran > passed) reasons.push(`${ran - passed} of ${ran} tests failed`);
  else if (code !== 0) reasons.push(`all tests passed but the process ended with code ${code}`);
  if (ran === 0 && skipped === 0) reasons.push('it ran no test');
  if (skipped > explained) {
    reasons.push(`${skipped} tests were skipped but ${explained} said why (see test/helpers/skip.ts)`);
  }
  const failedTests = ran === null ? 0 : ran - passed;
  const failed = reasons.length > 0 ? Math.max(1, failedTests) : 0;
  return { passed, failed, skipped, reasons, output, seconds };
}

function report(name: string, result: FileResult): void {
  const counts = [`${result.passed} passed`];
  if (result.failed > 0) counts.push(`${result.failed} failed`);
  if (result.skipped > 0) counts.push(`${result.skipped} skipped`);
  const mark = result.failed > 0 ? 'FAIL' : 'ok  ';
  let text = `${mark} ${name}  ${counts.join(', ')}  ${result.seconds.toFixed(1)} s\n`;
  if (result.failed > 0) {
    text += result.reasons.map((reason) => `     ${reason}\n`).join('');
    text += result.output.replace(/^/gm, '     | ').trimEnd();
    text += '\n';
  } else {
    for (const line of result.output.match(/^SKIP .*$/gm) ?? []) text += `     ${line}\n`;
  }
  process.stdout.write(text);
}

/** Counts of each file from what `report` printed. */
function readLog(text: string): Map<string, Counts> {
  const line = /^(?:ok {2}|FAIL) (\S+) {2}(\d+) passed(?:, (\d+) failed)?(?:, (\d+) skipped)? {2}[\d.]+ s$/gm;
  return new Map(
    [...text.matchAll(line)].map(([, name, passed, failed = '0', skipped = '0']) => [
      name!,
      { passed: Number(passed), failed: Number(failed), skipped: Number(skipped) },
    ]),
  );
}

/** A file that ran twice counts once: its second run, less what failed only in the first. */
function combine(earlier: Counts | undefined, later: Counts): Counts {
  const failed = Math.max(earlier?.failed ?? 0, later.failed);
  return { passed: Math.max(0, later.passed + later.failed - failed), failed, skipped: later.skipped };
}

function readOptions(args: readonly string[]): RunnerOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      after: { type: 'string' },
      dir: { type: 'string', default: join(root, 'test') },
      jobs: { type: 'string', default: '2' },
      limit: { type: 'string', default: '900' },
    },
  });
  const jobs = Number(values.jobs);
  const limitSeconds = Number(values.limit);
  if (!(Number.isInteger(jobs) && jobs >= 1))
    throw new Error(`Expected --jobs >= 1 but received ${values.jobs}`);
  if (!(limitSeconds > 0)) throw new Error(`Expected --limit in seconds > 0 but received ${values.limit}`);
  const before = values.after === undefined ? null : readLog(readFileSync(values.after, 'utf8'));
  if (before?.size === 0)
    throw new Error(`Expected a line for each test file in ${values.after}, found none`);
  return { dir: resolve(values.dir), before, filters: positionals, jobs, limitSeconds };
}

async function main(): Promise<number> {
  let options: RunnerOptions;
  try {
    options = readOptions(process.argv.slice(2));
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return 2;
  }
  const { dir, before, filters, jobs, limitSeconds } = options;
  const files = findTests(dir).filter((file) => {
    const name = relative(dir, file);
    if (before === null && filters.length === 0) return true;
    if (filters.some((filter) => name.includes(filter))) return true;
    if (before === null) return false;
    return (
      (before.get(relative(root, file))?.skipped ?? 1) > 0 ||
      readFileSync(file, 'utf8').includes('SEMANTICVLA_LONG_TESTS')
    );
  });
  if (files.length === 0) {
    console.error(
      `No test file below ${dir} has a path containing ${filters.map((f) => `"${f}"`).join(' or ') || '*'}.`,
    );
    return 2;
  }

  // Tests neither read nor fill the user's cache folder.
  const cache = mkdtempSync(join(tmpdir(), 'semanticvla-test-cache-'));
  process.env.SEMANTICVLA_CACHE = cache;
  const stop = (signal: NodeJS.Signals): void => {
    for (const pid of running) process.kill(-pid, 'SIGKILL');
    rmSync(cache, { recursive: true, force: true });
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);

  const started = performance.now();
  const sum = { passed: 0, failed: 0, skipped: 0 };
  const add = ({ passed, failed, skipped }: Counts): void => {
    sum.passed += passed;
    sum.failed += failed;
    sum.skipped += skipped;
  };
  const again = new Set(files.map((file) => relative(root, file)));
  for (const [name, counts] of before ?? []) if (!again.has(name)) add(counts);
  const queue = [...files];
  const worker = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const result = await runFile(file, limitSeconds);
      const name = relative(root, file);
      add(combine(before?.get(name), result));
      report(name, result);
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  rmSync(cache, { recursive: true, force: true });

  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  process.stdout.write(`\n${files.length} files in ${seconds} s\n`);
  const skipped = sum.skipped > 0 ? `, ${sum.skipped} skipped` : '';
  process.stdout.write(`${sum.passed} passed, ${sum.failed} failed${skipped}\n`);
  return sum.failed > 0 ? 1 : 0;
}

process.exitCode = await main();
