/** docs/libero.md: its Python drives LIBERO's own scenes with a policy that is served. */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ImageFrame, Policy } from '../../lib/types.ts';
import { root } from '../helpers/cli.ts';
import { testWhen } from '../helpers/skip.ts';
import { FakePolicy, liberoPlatform } from './fakePolicy.ts';
import { served } from './harness.ts';
import { runPython } from './pythonPeers.ts';
import { type Seen, watchedPolicy } from './watchedPolicy.ts';

const test = suite('docs/libero.md');
const python = join(
  process.env.XDG_CACHE_HOME || join(homedir(), '.cache'),
  'semanticvla/libero-venv/bin/python',
);
const isThere = existsSync(python);
const available = isThere && process.env.SEMANTICVLA_LONG_TESTS === '1';
const reason = isThere
  ? 'it takes a minute; SEMANTICVLA_LONG_TESTS=1 runs it'
  : 'there is no environment with LIBERO (2.2 GB); training/libero/setup.sh makes it';

const [loop, vlaEval, ...more] = [
  ...readFileSync(join(root, 'docs/libero.md'), 'utf8').matchAll(/^```python\n(.*?)^```/gms),
].map((found) => found[1]!);
const chunk = 8;
const asked = 3;
/** How a gripper is told to be open, and closed: as the dataset has it, and as the environment takes it. */
const conventions = { dataset: [1, 0], env: [-1, 1] } as const;
type Convention = keyof typeof conventions;

/** Stands still: eight steps with the gripper open, then with the gripper closed. */
function gripperPolicy(seen: Seen[], convention: Convention): Policy {
  const [open, closed] = conventions[convention];
  const actions = convention === 'env' ? ({ actions: 'env' } as const) : {};
  const dimensions = ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'];
  const fake = new FakePolicy({
    platform: { ...liberoPlatform, ...actions, chunk },
    dimensions,
    immediate: true,
  });
  const predict: Policy['predict'] = async (observation, options) => {
    const answer = await fake.predict(observation, options);
    const gripper = seen.length === 0 ? open : closed;
    return { ...answer, actions: Float64Array.from(answer.actions, (_, i) => (i % 7 === 6 ? gripper : 0)) };
  };
  return watchedPolicy({ ...watchedPolicy(fake, []), predict }, seen);
}

/** Runs a block of the page with these numbers in place of its own, and looks at what the policy was asked. */
async function drive(
  code: string,
  numbers: Readonly<Record<string, number>>,
  convention: Convention,
): Promise<void> {
  const seen: Seen[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-libero-'));
  try {
    await served(gripperPolicy(seen, convention), {}, async ({ act, openpi }) => {
      seen.length = 0; // a server asks its policy once before the ports open
      const own = Object.entries(numbers).map(([name, value]) => `${name} = ${value}\n`);
      const last = /^(TASKS|STEPS)\b.* = .*\n/m;
      assert.match(code, last);
      const program = code
        .replace('http://127.0.0.1:8777', act)
        .replace('ws://127.0.0.1:8000', openpi)
        .replace(last, (line) => line + own.join(''));
      const file = join(folder, 'drive.py');
      writeFileSync(file, program);
      await runPython(python, [file]);
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  assert.is(seen.length, asked);
  for (const { images, instruction } of seen) {
    assert.is(instruction, 'pick up the alphabet soup and place it in the basket');
    // As the training data has them: the fingers are at the lower edge, the basket is at the left.
    const [full, wrist] = [images.full_image!, images.wrist_image!];
    assert.equal([full.width, full.height, wrist.width, wrist.height], [256, 256, 256, 256]);
    assert.ok(mean(part(wrist, 0, 0.9, 1, 1)) < 80 && mean(part(wrist, 0, 0, 1, 0.1)) > 100, 'wrist_image');
    const [left, right] = [part(full, 0.08, 0.42, 0.3, 0.62), part(full, 0.82, 0.42, 0.97, 0.62)];
    assert.ok(deviation(left) > 2 * deviation(right), `full_image: ${deviation(left)}, ${deviation(right)}`);
  }
  // The hand points down, turned by a little more than pi about x: wrapped, that would be -3.139.
  for (const { state } of seen) {
    assert.is(state.length, 8);
    assert.ok(Math.abs(state[3]! - 3.1406) < 0.01, `${state}`);
    assert.ok(Math.hypot(...state.slice(3, 6)) > Math.PI, `${state}`);
  }
  // Each finger is 4 cm out: open after the waiting steps, open after the first chunk, on the way to closed after the second.
  const fingers = seen.map(({ state }) => state[6]!);
  assert.ok(fingers[0]! > 0.035 && fingers[1]! > 0.035 && fingers[2]! < 0.02, `${fingers}`);
}

function part({ data, width, height }: ImageFrame, left: number, top: number, right: number, bottom: number) {
  const values: number[] = [];
  for (let y = Math.floor(top * height); y < bottom * height; y++) {
    for (let i = Math.floor(left * width) * 3; i < Math.floor(right * width) * 3; i++)
      values.push(data[y * width * 3 + i]!);
  }
  return values;
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

function deviation(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
}

test('the page has the two programs', () => {
  assert.ok(loop !== undefined && vlaEval !== undefined);
  assert.equal(more, []);
});

testWhen(available, reason, test, "the authors' loop", () =>
  drive(loop!, { EPISODES: 1, STEPS: (asked - 1) * chunk + 1 }, 'dataset'),
);

testWhen(available, reason, test, "vla-eval's own LIBERO benchmark", () =>
  drive(vlaEval!, { TASKS: 1, EPISODES: 1, STEPS: (asked - 1) * chunk + 1 }, 'env'),
);

test.run();
