/** The remote example against a server whose policy has no model. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { pino } from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseLatency } from '../../lib/schedule/latency.ts';
import { simulatedPolicy } from '../../lib/schedule/simulatedPolicy.ts';
import { servePolicy } from '../../lib/serve/servePolicy.ts';
import { goldenRoot } from '../helpers/golden.ts';

const test = suite('remote example');

test('remoteRobot: so many actions from a policy on a socket', async () => {
  const policy = simulatedPolicy({
    dimensions: ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'],
    chunk: 8,
    latency: parseLatency('constant(20)'),
    platform: {
      name: 'libero',
      cameras: ['full_image', 'wrist_image'],
      proprio: true,
      centerCrop: true,
      jpeg: true,
      chunk: 8,
      normalization: 'q99',
    },
  });
  await using server = await servePolicy(policy, {
    act: false,
    openpi: { port: 0 },
    logger: pino({ level: 'silent' }),
  });
  const root = resolve(goldenRoot, '../..');
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', join('examples', 'remoteRobot.ts'), server.openpiUrl!, '20'],
    { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  assert.is(code, 0);
  const { loop, schedule } = JSON.parse(out) as Record<string, Record<string, number>>;
  assert.ok(loop!.executed! >= 1 && loop!.ticks! >= 20, out);
  assert.ok(schedule!.chunks! >= 1, out);
  assert.is(loop!.refusedObservations, 0);
});

test.run();
