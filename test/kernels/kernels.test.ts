/**
 * The CUDA kernels on a machine without CUDA: their sources compiled by the C++ compiler alone (scripts/kernelTests.sh)
 * and compared with their twins in native/reference, in several orders of threads and blocks. A few tests of each kernel; all of
 * them, a minute of computing, with SEMANTICVLA_LONG_TESTS=1.
 */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { testWhen } from '../helpers/skip.ts';

const kernels = suite('kernels');
const root = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
/** Names of the tests that take seconds; every kernel has one. */
const quick =
  /^shim|Refusals$|^goldenSelection|^instructionTopKMasks|^textGuidedPooling(Limits|TiesAndMasks)|^preprocessImagesWideFrames|^swigluLevels(Limits|Ties)|^(queryRows|channelConcat|film)Random/;
const kernelNames = [
  'instructionTopK',
  'textGuidedPooling',
  'queryRows',
  'channelConcat',
  'film',
  'swigluLevels',
  'preprocessImages',
];

interface Outcome {
  readonly output: string;
  readonly code: number;
}

/** Runs a command and keeps what it wrote, whether or not it succeeded. */
async function outcome(file: string, args: readonly string[]): Promise<Outcome> {
  try {
    const { stdout, stderr } = await run(file, args, { cwd: root, maxBuffer: 64 << 20 });
    return { output: stdout + stderr, code: 0 };
  } catch (error) {
    const {
      stdout = '',
      stderr = '',
      code = -1,
    } = error as { stdout?: string; stderr?: string; code?: number };
    return { output: `${stdout}${stderr}`, code: Number(code) };
  }
}

let built: Promise<{ program: string; names: readonly string[] }> | undefined;
function build(): Promise<{ program: string; names: readonly string[] }> {
  built ??= (async () => {
    const made = await outcome(join(root, 'scripts/kernelTests.sh'), [
      '--build',
      join(root, 'build-kernels/tests'),
    ]);
    assert.is(made.code, 0, made.output);
    const program = made.output.trim().split('\n').at(-1)!;
    const names = (await outcome(program, ['--list'])).output.trim().split('\n');
    return { program, names: isLong ? names : names.filter((name) => quick.test(name)) };
  })();
  return built;
}

/** The preprocessing takes as long as everything else, so the two halves run in parallel. */
let halves: Promise<readonly (readonly [string, Outcome])[]> | undefined;
function results(): Promise<readonly (readonly [string, Outcome])[]> {
  halves ??= build().then(({ program, names }) => {
    const isPreprocessing = (name: string) => name.startsWith('preprocessImages');
    return Promise.all(
      [names.filter(isPreprocessing), names.filter((name) => !isPreprocessing(name))].map(
        async (half) => [half.join(' '), await outcome(program, half)] as const,
      ),
    );
  });
  return halves;
}

kernels('the kernels compile without CUDA, and every kernel has tests', async () => {
  const { names } = await build();
  for (const kernel of kernelNames) {
    assert.ok(
      names.some((name) => name.startsWith(kernel) && !name.endsWith('Refusals')),
      `no test of ${kernel} among ${names.join(', ')}`,
    );
  }
});

kernels('every kernel equals its twin, in every order of threads', async () => {
  const { names } = await build();
  let passed = 0;
  for (const [half, { output, code }] of await results()) {
    console.log(output.trimEnd());
    assert.is(code, 0, `${half}\n${output}`);
    passed += output.match(/^ok /gm)?.length ?? 0;
  }
  assert.is(passed, names.length, 'each test ran exactly once');
});

testWhen(
  isLong,
  'with all other cases of the kernels it takes a minute; SEMANTICVLA_LONG_TESTS=1 runs it',
  kernels,
  'each kernel is compared in at least 100 random shapes for each of three types',
  async () => {
    const all = (await results()).map(([, { output }]) => output).join('\n');
    for (const kernel of [
      'instructionTopKRandomExact',
      'textGuidedPoolingRandom',
      'queryRowsRandom',
      'channelConcatRandom',
      'filmRandom',
      'swigluLevelsRandom',
      'preprocessImagesRandom',
    ]) {
      const cases = Number(all.match(new RegExp(`^ok   ${kernel}: (\\d+) cases`, 'm'))?.[1]);
      assert.ok(cases >= 300, `${kernel}: ${cases} cases`);
    }
  },
);

kernels.run();
