/** The exported models in ONNX's own Python packages. */

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { names } from '../../lib/graph/names.ts';
import { testWhen } from '../helpers/skip.ts';
import { exported, policyNames } from './exported.ts';
import { onnxPython } from './onnxVenv.ts';

const test = suite("ONNX's own checker and runtime");

/** As the goldens through our own runtime: the reference differs from itself by 2e-6, its smallest mistake by 9.6e-5. */
const actionTolerance = 5e-5;

interface Answer {
  readonly error?: string;
  readonly unknown: Readonly<Record<string, readonly string[]>>;
  readonly differences: readonly number[];
}

async function job(name: string): Promise<string> {
  const { dir, samples } = await exported(name);
  return JSON.stringify({
    folder: dir,
    samples: samples.map((sample, i) => {
      const images = join(dir, `sample${i}.images`);
      writeFileSync(images, sample.images);
      return {
        images,
        instruction: { [names.promptIds]: sample.promptIds, [names.siglipIds]: sample.siglipIds },
        policy: { [names.proprio]: sample.proprio && Array.from(sample.proprio) },
        normalized: sample.normalized,
      };
    }),
  });
}

function ask(python: string, jobs: readonly string[]): Answer[] {
  const script = join(import.meta.dirname, 'checkModels.py');
  const { stdout, stderr, status } = spawnSync(python, ['-B', script], {
    input: jobs.join('\n'),
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    timeout: 200_000,
  });
  assert.is(status, 0, stderr);
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Answer);
}

const found = onnxPython();
const python = 'python' in found ? found.python : '';
const missing = 'missing' in found ? found.missing : '';

testWhen(
  python !== '',
  missing,
  test,
  'every golden and variant: valid, all shapes inferred, the same actions in Python',
  async () => {
    const jobs: string[] = [];
    for (const name of policyNames) jobs.push(await job(name));
    const answers = ask(python, jobs);
    assert.is(answers.length, policyNames.length);
    for (const [i, answer] of answers.entries()) {
      const name = policyNames[i]!;
      assert.is(answer.error, undefined, name);
      for (const [model, unknown] of Object.entries(answer.unknown)) {
        assert.equal(unknown, [], `${name}, ${model}.onnx: values without an inferred shape`);
      }
      // two sentences of different lengths through one session: the prompt length is free
      assert.is(answer.differences.length, 2);
      for (const difference of answer.differences) {
        assert.ok(difference <= actionTolerance, `${name}: actions differ by ${difference}`);
      }
    }
  },
);

testWhen(python !== '', missing, test, 'the checker would notice: a truncated model is refused', async () => {
  const { dir } = await exported('libero-tiny');
  const broken = join(dir, 'broken');
  const { cpSync, mkdirSync, readFileSync } = await import('node:fs');
  mkdirSync(broken);
  cpSync(join(dir, 'policy.onnx'), join(broken, 'policy.onnx'));
  const bytes = readFileSync(join(dir, 'instruction.onnx'));
  writeFileSync(join(broken, 'instruction.onnx'), bytes.subarray(0, bytes.length - 100));
  const [answer] = ask(python, [JSON.stringify({ folder: broken, samples: [] })]);
  assert.ok(answer!.error);
});

test.run();
