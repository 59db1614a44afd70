/**
 * Preparation at load, counted on a device without a GPU (test/runtime/fake): captures, and sizes that engines had to compile.
 * Times can only be measured on a GPU.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { keptLengthsOf, warmUp, warmUpOf } from '../../lib/policy/warmUp.ts';
import { TensorRtSession } from '../../lib/runtime/tensorRt.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { fakeTensorRt, withDevice } from '../runtime/fakeTensorRt.ts';

const test = suite('warm-up');

const prepare = Buffer.from('fake 1\nin prompt_ids int64 -1\nout tail float32 prompt_ids.0+1,4\n');
const step = Buffer.from('fake 1\nin images uint8 1,2,2,3\nin tail float32 -1,4\nout actions float32 2,3\n');

/** Six lengths, shortest first, which is the wrong order to prepare them in: scratch memory would grow each time. */
const instructions = [
  'one',
  'two words',
  'three words here',
  'a b c d',
  'a b c d e',
  'a b c d e f',
  'f e d c b a',
];
const length = (instruction: string): number => 10 * instruction.split(' ').length;

interface Counts {
  readonly captures: number;
  readonly compiled: number;
}

/** What one session did by its end. `rounds`: over all instructions, after the warm-up. */
async function counted(
  warmed: readonly string[],
  rounds: number,
  keptLengths: number | undefined,
): Promise<Counts> {
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-warm-'));
  const log = join(dir, 'log');
  try {
    await withDevice(`log=${log}`, async () => {
      const session = await TensorRtSession.open({
        ...fakeTensorRt(),
        label: 'TensorRT 10.3.0.7',
        instruction: { plan: prepare, bindings: [] },
        policy: { plan: step, bindings: [] },
        imageShape: [1, 2, 2, 3],
        ...(keptLengths === undefined ? {} : { keptLengths }),
      });
      const encode = (instruction: string) =>
        session.encodeInstruction({
          promptIds: Array.from({ length: length(instruction) + 1 }, (_, i) => i),
          siglipIds: null,
        });
      const predict = async (instruction: string) =>
        session.run({ images: new Uint8Array(12), proprio: null }, await encode(instruction));
      await warmUp(warmed, { length, encode, predict });
      for (let round = 0; round < rounds; round++)
        for (const instruction of instructions) await predict(instruction);
      await session.close();
    });
    return JSON.parse(readFileSync(log, 'utf8'));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

test('after the warm-up no prediction captures anything, or compiles', async () => {
  const kept = keptLengthsOf({}, 6);
  const warm = await counted(instructions, 0, kept);
  assert.is(warm.captures, 6);
  // a length of the first engine and one of the second
  assert.is(warm.compiled, 12);
  const used = await counted(instructions, 3, kept);
  assert.is(used.captures, warm.captures);
  assert.is(used.compiled, warm.compiled);
});

test('without it the predictions do, and four kept lengths do so for ever', async () => {
  // shortest first, so scratch memory grows with every new length, and all graphs are captured again in the second round
  const kept = await counted([], 3, 6);
  assert.ok(kept.captures > 6, `${kept.captures}`);
  // the seventh instruction finds the graph of the sixth: as long
  assert.is((await counted([], 3, undefined)).captures, 18);
});

test('what is kept: as many as asked for, never fewer than the instructions need', () => {
  assert.is(keptLengthsOf({}, 0), 4);
  assert.is(keptLengthsOf({}, 3), 4);
  assert.is(keptLengthsOf({}, 4), 5);
  assert.is(keptLengthsOf({ keptLengths: 2 }, 2), 2);
  for (const [keptLengths, lengths] of [
    [1, 2],
    [0, 0],
    [1.5, 1],
    [1025, 1],
  ] as const) {
    assert.throws(
      () => keptLengthsOf({ keptLengths }, lengths),
      (error: unknown) => error instanceof SemanticVlaError && error.code === 'OPTION_INVALID',
    );
  }
  assert.is(warmUpOf({}).instructionCache, 16);
  const many = Array.from({ length: 20 }, (_, i) => `go to place ${i}`);
  assert.is(warmUpOf({ instructions: [...many, ...many] }).instructionCache, 20);
  assert.is(warmUpOf({ instructions: [...many, ...many] }).instructions.length, 20);
});

test.run();
