/**
 * Do the tests notice? Breaks scheduler and loop on purpose, one way at a time in a copy, and runs episodes until one fails, or
 * the test that should fail. A mutant that survives is a hole in the invariants.
 *
 *   node --import tsx test/schedule/mutants.ts [--episodes 400] [--only WORD]
 */

import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

interface Mutant {
  readonly name: string;
  /** In lib/schedule. */
  readonly file: string;
  /** Exactly once in the file. */
  readonly from: string;
  readonly to: string;
  /** Whose episodes are run, or which test of this folder. */
  readonly mode?: string;
  readonly test?: string;
}

const policy = 'scheduledPolicy.ts';
const mutants: readonly Mutant[] = [
  ...['asynchronous', 'overlapBlend linear', 'temporalEnsemble', 'openLoop'].map((mode) => ({
    name: `one row too few dropped (${mode})`,
    file: policy,
    from: 'question = { observation, first: executedBefore }',
    to: 'question = { observation, first: executedBefore + 1 }',
    mode,
  })),
  {
    name: 'no rows dropped',
    file: policy,
    from: 'request.observedAt, request.first, this.#rules.rows',
    to: 'request.observedAt, this.#executed.total, this.#rules.rows',
    mode: 'asynchronous',
  },
  {
    name: 'rows counted from the question, not from the observation',
    file: policy,
    from: 'this.#executed.countBefore(observedAt)',
    to: 'this.#executed.countBefore(now)',
    mode: 'asynchronous',
  },
  {
    name: 'a reset leaves the plan',
    file: policy,
    from: 'this.#plan.clear();\n    this.#drop();',
    to: 'this.#drop();',
    mode: 'asynchronous',
  },
  {
    name: 'a reset leaves the question',
    file: policy,
    from: 'this.#plan.clear();\n    this.#drop();',
    to: 'this.#plan.clear();',
    mode: 'asynchronous',
  },
  {
    name: 'a change of instruction is not noticed',
    file: policy,
    from: 'task.instruction !== instruction ||',
    to: 'false ||',
    mode: 'overlapBlend average',
  },
  {
    name: 'pictures of the episode before',
    file: policy,
    from: ' && observedAt > this.#resetAt',
    to: '',
    mode: 'asynchronous',
  },
  {
    name: 'a picture of the instant of a reset',
    file: policy,
    from: 'observedAt > this.#resetAt',
    to: 'observedAt >= this.#resetAt',
    mode: 'temporalEnsemble',
  },
  ...['openLoop', 'asynchronous', 'overlapBlend conservative', 'temporalEnsemble', 'futureState'].map(
    (mode) => ({
      name: `old chunks stay (${mode})`,
      file: policy,
      from: 'observedAt >= oldest && end >',
      to: 'end >',
      mode,
    }),
  ),
  {
    name: 'lost questions are waited for',
    file: policy,
    from: 'this.#request.observedAt < oldest',
    to: 'false',
    mode: 'asynchronous',
  },
  {
    name: 'chunks that are not finite',
    file: policy,
    from: "checkedChunk(answer.chunk, this, 'chunk of a policy')",
    to: 'answer.chunk as ActionChunk',
    mode: 'asynchronous',
  },
  {
    name: 'one instant counts twice',
    file: 'executedRows.ts',
    from: 'this.#times[middle]! < time',
    to: 'this.#times[middle]! <= time',
    mode: 'asynchronous',
  },
  {
    name: 'deltas are not re-anchored',
    file: 'overlapBlend.ts',
    from: 'anchors: true',
    to: 'anchors: false',
    mode: 'overlapBlend linear',
  },
  {
    name: 're-anchored without what was executed',
    file: 'plan.ts',
    from: 'sum - moved[d]!',
    to: 'sum',
    mode: 'temporalEnsemble',
  },
  {
    name: 'shares that do not sum to 1',
    file: 'temporalEnsemble.ts',
    from: 'weights[i]! / total',
    to: 'weights[i]!',
    mode: 'temporalEnsemble',
  },
  {
    name: 'angles averaged across the wrap',
    file: 'mixing.ts',
    from: 'wrapped(row[d]! - around, period)',
    to: '(row[d]! - around)',
    mode: 'overlapBlend average',
  },
  {
    name: 'grippers averaged',
    file: 'mixing.ts',
    from: "case 'gripper':\n        return newest.row[d]!;\n      case 'binaryGripper':",
    to: "case 'gripper':\n        return newest.row[d]!;\n      case 'binaryGripper':\n        if (d > 0) return sum(contributions, ({ row, weight }) => weight * row[d]!);",
    mode: 'overlapBlend average',
  },
  {
    name: 'the future row comes too early',
    file: 'futureState.ts',
    from: 'return { observation: { ...observation, state }, first };',
    to: 'return { observation: { ...observation, state }, first: now };',
    mode: 'futureState',
  },
  {
    name: 'the state is not rolled',
    file: 'futureState.ts',
    from: 'state[index]! += scale * moved[d]!',
    to: 'state[index]! += 0',
    mode: 'futureState',
  },
  {
    name: 'a held tick counts as executed',
    file: 'controlLoop.ts',
    from: 'this.#limiter.held();',
    to: 'this.#limiter.held();\n    if (this.#last !== null) this.#options.scheduler.executed(this.#last, now);',
    mode: 'asynchronous',
  },
  {
    name: 'HOLD repeats deltas',
    file: 'controlLoop.ts',
    from: "kind === 'delta' ? 0 : value",
    to: "kind === 'delta' ? value : value",
    mode: 'openLoop',
  },
  {
    name: 'no braking',
    file: 'stepBounds.ts',
    from: 'if (room <= 0) return 0;',
    to: 'if (room > 0) return room;',
    mode: 'asynchronous',
  },
  {
    name: 'a stop is forgotten',
    file: 'limits.ts',
    from: 'held(): void {\n    this.#lastStep = new',
    to: 'held(): void {\n    new',
    mode: 'openLoop',
  },
  {
    name: 'the first step of an episode is not counted',
    file: 'limits.ts',
    from: 'const step = value - this.#from[d]!;',
    to: 'const step = this.#last === null ? 0 : value - this.#from[d]!;',
    mode: 'temporalEnsemble',
  },
  {
    name: 'workspace ignores deltas under way',
    file: 'limits.ts',
    from: 'measured + scale * this.#executed.movedSince(count)[d]!',
    to: 'measured',
    mode: 'asynchronous',
  },
  {
    name: 'ranges are not kept',
    file: 'limits.ts',
    from: 'const both: Bounds = [Math.max(lowest, bounds[0]), Math.min(highest, bounds[1])]',
    to: 'const both: Bounds = [lowest, highest]',
    mode: 'asynchronous',
  },
  {
    name: 'after a failure an older picture is asked about',
    file: policy,
    from: 'if (this.#asked !== null) this.#asked = { observation: null, observedAt: this.#asked.observedAt };',
    to: 'this.#asked = null;',
    test: 'oracle',
  },
  {
    name: 'a failed picture is not asked about again',
    file: policy,
    from: '{ observation: null, observedAt: this.#asked.observedAt }',
    to: 'this.#asked',
    test: 'oracle',
  },
  {
    name: 'a picture of the instant of a reset, coarse clock',
    file: policy,
    from: 'observedAt > this.#resetAt',
    to: 'observedAt >= this.#resetAt',
    test: 'oracle',
  },
  {
    name: 'an instant added, not counted',
    file: 'clock.ts',
    from: 'bits[0] = bits[0]! + (time > 0 ? 1n : -1n);\n  return double[0]!;',
    to: 'return time + 1e-6;',
    test: 'loopTime',
  },
  {
    name: 'what was executed before the clock went back is yet to come',
    file: policy,
    from: 'this.#executed.settle(now);',
    to: '',
    test: 'loopTime',
  },
  {
    name: 'a clock that goes back is not noticed',
    file: 'controlLoop.ts',
    from: 'if (!(back > 0)) return false;',
    to: 'if (!(back > 1e9)) return false;',
    test: 'loopTime',
  },
  {
    name: 'angles leave as they come',
    file: 'limitRules.ts',
    from: 'if (circle === null || (angle >= hard[0] && angle <= hard[1])) return angle;',
    to: 'return angle;',
    test: 'loopTime',
  },
  {
    name: 'limits and gate let angles through',
    file: 'limitRules.ts',
    from: 'if (circle !== null) return range ?? [-circle, circle];',
    to: 'if (circle !== null) return everything;',
    test: 'gate',
  },
  {
    name: 'a start outside of the range is where motion begins',
    file: 'limits.ts',
    from: 'isStart(place, rule) ? clamp(place, rule.hard)',
    to: 'isStart(place, rule) ? place',
    test: 'loopTime',
  },
  {
    name: 'any reading can be',
    file: 'limitRules.ts',
    from: 'return isWithin(turned, range, tolerated * (range[1] - range[0])) ? turned : null;',
    to: 'return turned;',
    test: 'loopTime',
  },
  {
    name: 'jumps are believed',
    file: 'readings.ts',
    from: 'if (this.#agreeing < believed) return jump;',
    to: '',
    test: 'loopTime',
  },
  {
    name: 'an error ends the loop without a HOLD',
    file: 'controlLoop.ts',
    from: "if (this.#last !== null) this.#hold('stopped'",
    to: "if (this.#last !== null && this.#failure === null) this.#hold('stopped'",
    test: 'loopEnds',
  },
  {
    name: 'the end does not wait for its HOLD',
    file: 'controlLoop.ts',
    from: 'if (this.#sender.open === 0) this.#settled();',
    to: 'if (this.#sender.open >= 0) this.#settled();',
    test: 'loopEnds',
  },
  {
    name: 'an action under way arrives last',
    file: 'controlLoop.ts',
    from: 'this.#confirm(before > 0)',
    to: 'this.#confirm(false)',
    test: 'loopEnds',
  },
  {
    name: 'the HOLD of an end within act comes too early',
    file: 'controlLoop.ts',
    from: 'if (!this.#sender.isSending) this.#finish();',
    to: 'this.#finish();',
    test: 'loopEnds',
  },
  {
    name: 'two loops share a scheduler',
    file: 'controlLoop.ts',
    from: 'if (driven.has(scheduler)) {',
    to: 'if (driven.has(scheduler) && false) {',
    test: 'loopEnds',
  },
];

const { values } = parseArgs({
  options: { episodes: { type: 'string', default: '400' }, only: { type: 'string', default: '' } },
});
const chosen = mutants.filter(({ name, test = '' }) => `${name} ${test}`.includes(values.only));
const root = fileURLToPath(new URL('../..', import.meta.url));
let survivors = 0;
for (const { name, file, from, to, mode, test } of chosen) {
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-mutant-'));
  try {
    for (const part of ['lib', 'test/schedule', 'examples', 'docs', 'package.json', 'tsconfig.json']) {
      cpSync(join(root, part), join(dir, part), { recursive: true });
    }
    symlinkSync(join(root, 'node_modules'), join(dir, 'node_modules'));
    const path = join(dir, 'lib/schedule', file);
    const source = readFileSync(path, 'utf8');
    if (source.split(from).length !== 2) throw new Error(`${name}: ${file} does not hold once: ${from}`);
    writeFileSync(
      path,
      source.replace(from, () => to),
    );
    const program =
      test === undefined
        ? ['test/schedule/simulate.ts', '--mode', mode!, '--episodes', values.episodes]
        : [`test/schedule/${test}.test.ts`];
    const run = spawnSync(process.execPath, ['--import', 'tsx', ...program], { cwd: dir, encoding: 'utf8' });
    const said = run.stdout + run.stderr;
    const isCaught = run.status === 1 && /FAILED|FAIL /.test(said);
    if (!isCaught) survivors++;
    const why = isCaught
      ? /FAILED [^\n]*?--episodes 1: ([^;\n]*)|FAIL +([^\n]*)/.exec(said)?.slice(1).join('')
      : run.stderr.slice(0, 200);
    console.log(`${isCaught ? 'caught  ' : 'SURVIVED'} ${name}: ${why ?? ''}`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
console.log(`${chosen.length - survivors} of ${chosen.length} caught`);
process.exitCode = survivors === 0 ? 0 : 1;
