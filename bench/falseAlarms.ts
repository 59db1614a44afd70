/**
 * How often the regression gate is wrong: the tiny policy is measured again and again, each time in a process of its own, and
 * every run is held against every other one. They are all the same thing, so each failure is a false alarm. In the same runs a
 * copy that is really 10 % slower (it keeps the thread busy for a tenth of each chunk's time) shows how often that is found.
 *
 *   node --import tsx bench/falseAlarms.ts record noise.json --runs 40     appends; the file can be made in several sittings
 *   node --import tsx bench/falseAlarms.ts judge noise.json
 *
 * test/profile/gate/noise.json was recorded so, and test/profile/gate/falseAlarms.test.ts repeats it thousands of times in virtual
 * time. What the gate does beyond the statistics (a run beside other work is not believed to have failed) is not counted here.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadAddon } from '../lib/addon/binding.ts';
import { formatTable } from '../lib/cli/format.ts';
import { loadPolicy } from '../lib/policy/loadPolicy.ts';
import { parseCondition } from '../lib/profile/gate/condition.ts';
import { type GateBaseline, judge } from '../lib/profile/gate/judge.ts';
import { benchPolicies, summaryOf } from '../lib/profile/measure/benchPolicies.ts';
import type { BenchSubject } from '../lib/profile/measure/benchSubject.ts';
import type { SubjectResult } from '../lib/profile/types.ts';
import type { Policy, PolicyOptions } from '../lib/types.ts';

/** One process: the same policy twice and the slower one, which took turns. Microseconds a chunk, and its round. */
export interface RecordedRun {
  readonly same: readonly number[];
  readonly again: readonly number[];
  readonly slower: readonly number[];
  /** Chunks a round; all subjects had as many. */
  readonly perRound: number;
}

const slowdown = 0.1;

async function slowed(dir: string, options: PolicyOptions): Promise<Policy> {
  const policy = await loadPolicy(dir, options);
  const predict = policy.predict.bind(policy);
  return Object.assign(policy, {
    predict: async (...args: Parameters<Policy['predict']>) => {
      const start = performance.now();
      const chunk = await predict(...args);
      loadAddon().busyWait(Math.round(1000 * slowdown * (performance.now() - start)));
      return chunk;
    },
  });
}

/** In a process of its own. */
async function measureOnce(iterations: number): Promise<RecordedRun> {
  const subjects: BenchSubject[] = [
    { preset: 'tiny', name: 'same' },
    { preset: 'tiny', name: 'again', version: 'again' },
    { preset: 'tiny', name: 'slower', load: slowed, version: 'slower' },
  ];
  const { subjects: results } = await benchPolicies(subjects, {
    warmUpMs: 300,
    warmUpChunks: 30,
    warmUpLimitMs: 400,
    iterations,
    durationMs: 0,
    newInstructions: 0,
  });
  const rounds = Math.max(...results.map(({ chunks }) => chunks.at(-1)!.round! + 1));
  const perRound = Math.min(...results.map(({ chunks }) => Math.floor(chunks.length / rounds)));
  const [same, again, slower] = results.map(({ chunks }) =>
    Array.from({ length: rounds }, (_, round) =>
      chunks
        .filter((chunk) => chunk.round === round)
        .slice(0, perRound)
        .map(({ stages }) => Math.round(1000 * stages.total!)),
    ).flat(),
  );
  return { same: same!, again: again!, slower: slower!, perRound };
}

function record(file: string, runs: number, iterations: number): void {
  const recorded: RecordedRun[] = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : [];
  for (let i = 0; i < runs; i++) {
    const args = [
      '--import',
      'tsx',
      fileURLToPath(import.meta.url),
      'once',
      '--iterations',
      String(iterations),
    ];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
    if (status !== 0) throw new Error(`a run failed: ${stderr}`);
    recorded.push(JSON.parse(stdout) as RecordedRun);
    // after every run, so that a sitting may end at any time
    writeFileSync(file, `[\n${recorded.map((run) => JSON.stringify(run)).join(',\n')}\n]\n`);
    console.error(`${recorded.length} runs in ${file}`);
  }
}

/** As the gate sees a run. */
function resultOf(name: string, microseconds: readonly number[], perRound: number): SubjectResult {
  const chunks = microseconds.map((us, i) => ({
    startMs: i,
    round: Math.floor(i / perRound),
    stages: { total: us / 1000 },
  }));
  return { subject: { name }, chunks, summary: summaryOf(chunks, []) } as unknown as SubjectResult;
}

interface Rates {
  fail: number;
  noisy: number;
  pass: number;
}

function rates(
  pairs: Iterable<{ subject: SubjectResult; baseline: GateBaseline }>,
  written: string,
): { rates: Rates; count: number; naive: number } {
  const condition = parseCondition(written);
  const counts: Rates = { fail: 0, noisy: 0, pass: 0 };
  let count = 0;
  let naive = 0;
  for (const pair of pairs) {
    const [verdict] = judge([pair], [condition]);
    counts[verdict!.outcome] += 1;
    if (condition.side === 'above' ? verdict!.value > condition.limit : verdict!.value < condition.limit)
      naive += 1;
    count += 1;
  }
  return { rates: counts, count, naive };
}

function show(files: readonly string[]): void {
  const conditions = ['p50 > 1.05x', 'p50 > 1.02x', 'mean > 1.05x', 'p95 > 1.1x', 'throughput < 0.95x'];
  const rows: string[][] = [];
  for (const file of files) {
    const runs = JSON.parse(readFileSync(file, 'utf8')) as RecordedRun[];
    const results = runs.map(({ same, again, slower, perRound }) => ({
      same: resultOf('same', same, perRound),
      again: resultOf('again', again, perRound),
      slower: resultOf('slower', slower, perRound),
    }));
    const against = (result: SubjectResult): GateBaseline => ({
      kind: 'runs',
      name: 'run',
      results: [result],
    });
    const beside = (result: SubjectResult): GateBaseline => ({ kind: 'paired', name: 'beside', result });
    const others = (subject: 'same' | 'slower') =>
      results.flatMap((now, i) =>
        results.flatMap((then, j) =>
          i === j ? [] : [{ subject: now[subject], baseline: against(then.same) }],
        ),
      );
    const kinds = {
      'other process, same': others('same'),
      'other process, 10 % slower': others('slower'),
      'same run, same': results.map(({ same, again }) => ({ subject: again, baseline: beside(same) })),
      'same run, 10 % slower': results.map(({ same, slower }) => ({
        subject: slower,
        baseline: beside(same),
      })),
    };
    for (const [kind, pairs] of Object.entries(kinds)) {
      for (const condition of conditions) {
        const { rates: of, count, naive } = rates(pairs, condition);
        const percent = (n: number): string => `${((100 * n) / count).toFixed(1)} %`;
        rows.push([
          file,
          kind,
          condition,
          String(count),
          percent(of.fail),
          percent(of.noisy),
          percent(of.pass),
          percent(naive),
        ]);
      }
    }
  }
  const head = [
    'runs',
    'baseline from',
    'condition',
    'pairs',
    'fail',
    'too noisy',
    'pass',
    'value alone says fail',
  ];
  console.log(formatTable([head, ...rows], ['left', 'left', 'left']));
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: 'string', default: '40' }, iterations: { type: 'string', default: '120' } },
});
const [mode, ...files] = positionals;
if (mode === 'once') console.log(JSON.stringify(await measureOnce(Number(values.iterations))));
else if (mode === 'record' && files.length === 1)
  record(files[0]!, Number(values.runs), Number(values.iterations));
else if (mode === 'judge' && files.length > 0) show(files);
else throw new Error('Expected: record FILE [--runs N] [--iterations N], or judge FILE...');
