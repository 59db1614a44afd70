/** docs/safety.md: its table is what the code says, its example runs. */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FakeRobot } from '../../examples/fakeRobot.ts';
import * as semanticvla from '../../lib/index.ts';
import { holdReasons } from '../../lib/schedule/loopEvents.ts';

const test = suite('docs/safety.md');
const page = readFileSync(fileURLToPath(new URL('../../docs/safety.md', import.meta.url)), 'utf8');

test('names every reason to hold, and no other', () => {
  const [table] = page.match(/^\| reason \|.*?\n\n/ms)!;
  const named = [...table.matchAll(/^\| `(\w+)`/gm)].map(([, reason]) => reason);
  assert.equal(named, holdReasons);
});

test('the example moves a robot and ends in order', async () => {
  const [, code] = page.match(/```ts\n(.*?)```/s)!;
  const policy = semanticvla.simulatedPolicy({
    dimensions: ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'],
    chunk: 8,
    latency: semanticvla.parseLatency('constant(5)'),
    platform: {
      name: 'libero',
      cameras: ['full_image'],
      proprio: true,
      centerCrop: true,
      jpeg: true,
      chunk: 8,
      normalization: 'q99',
    },
  });
  const robot = new FakeRobot(policy.platform.cameras, 8);
  const listeners = new Map<string, () => unknown>();
  const host = {
    once: (signal: string, listener: () => unknown) => listeners.set(signal, listener),
  };
  const body = code!.replace(/^import \{(.*)\} from 'semanticvla';$/m, 'const {$1} = semanticvla;');
  const run = new Function(
    'semanticvla',
    'policy',
    'robot',
    'process',
    `return (async () => {${body}})();`,
  ) as (...given: unknown[]) => Promise<void>;
  const ended = run(semanticvla, policy, robot, host);
  await robot.moved(5);
  listeners.get('SIGINT')!();
  await ended;
});

test.run();
