/** `semanticvla serve` with its recorder: metrics and flight files of the real policy, through real signals. */

import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readObservation } from '../../../lib/observation/readObservation.ts';
import { float64Array, NdArray, type WireValue } from '../../../lib/serve/ndarray.ts';
import { cli, inFolder, root, startCli } from '../../helpers/cli.ts';
import { inTime, post, toJson, until } from '../../serve/harness.ts';

const test = suite('serve with a recorder');
/** Version 0 of the format. */
const mcapMagic = Buffer.from('\x89MCAP0\r\n', 'latin1');
const golden = join(root, 'test/golden/libero-tiny');

async function request(): Promise<string> {
  const { observation } = await readObservation(join(golden, 'obs0'));
  const state = float64Array(Float64Array.from(observation.state!), [observation.state!.length]);
  const images = Object.entries(observation.images).map(
    ([camera, { data, width, height }]): [string, WireValue] => [
      camera,
      new NdArray('|u1', [height, width, 3], data),
    ],
  );
  return toJson(
    new Map<string, WireValue>([...images, ['state', state], ['instruction', 'pick up the bowl']]),
  );
}

test('stages in /metrics, a file when the deadline passes, another on SIGUSR2, and a quiet end', async () => {
  await inFolder(async (dir) => {
    const flights = join(dir, 'flights');
    const child = startCli(
      ...[
        'serve',
        join(golden, 'checkpoint'),
        '--unnorm-key',
        'libero_spatial_no_noops',
        '--act',
        '0',
        '--no-openpi',
      ],
      ...['--json', '--log-level', 'info', '--flight-recorder', flights, '--flight-mcap', '--deadline', '1'],
    );
    let log = '';
    child.stderr!.on('data', (data: Buffer) => {
      log += data.toString();
    });
    const [line] = (await inTime(once(child.stdout!, 'data'), 'the address')) as [Buffer];
    const { act } = JSON.parse(line.toString()) as { act: string };
    const body = await request();
    for (let i = 0; i < 3; i++) assert.is((await post(act, body)).status, 200);
    const metrics = await (await fetch(`${act}/metrics`)).text();
    // no policy of this size answers within 1 ms: each of the three missed, and is counted once on either side
    assert.match(metrics, /^semanticvla_inference_seconds_count 3$/m);
    assert.match(metrics, /^semanticvla_stage_seconds_count\{stage="policy"\} 3$/m);
    assert.match(metrics, /^semanticvla_stage_seconds_count\{stage="instruction"\} 1$/m);
    assert.match(metrics, /^semanticvla_deadline_misses_total 3$/m);
    await until(() => log.includes('flight recorded'), 'the file of the missed deadline');
    child.kill('SIGUSR2');
    await until(() => readdirSync(flights).length === 4, 'the files on request');
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    assert.equal(await inTime(ended, 'the exit'), [0, null], log);
    for (const format of ['perfetto-trace', 'mcap']) {
      const own = readdirSync(flights).filter((name) => name.endsWith(format));
      const reasons = own.map((name) => /Z-(\w+)\.[\w-]+$/.exec(name)?.[1]);
      assert.equal(
        reasons.sort(),
        ['deadline', 'request'],
        'one a minute for misses, however many there were',
      );
    }
    const deadline = readdirSync(flights).find((name) => name.endsWith('-deadline.mcap'))!;
    const bytes = readFileSync(join(flights, deadline));
    // the format's magic at both ends, and the three requests' frames as JPEG
    assert.ok(bytes.subarray(0, 8).equals(mcapMagic) && bytes.subarray(-8).equals(mcapMagic));
    assert.is(bytes.toString('latin1').split('sensor_msgs/msg/CompressedImage').length, 3);
  });
});

test('--flight-mcap alone says what it needs', () => {
  const { code, stderr } = cli('serve', join(golden, 'checkpoint'), '--flight-mcap', '--log-level', 'silent');
  assert.is(code, 2);
  assert.match(stderr, /^OPTION_REQUIRED: --flight-mcap: .*--flight-recorder/m);
});

test('a folder that cannot be made is an error at the start', () => {
  const args = [
    '--unnorm-key',
    'libero_spatial_no_noops',
    '--flight-recorder',
    join(root, 'package.json', 'x'),
  ];
  const { code, stderr } = cli('serve', join(golden, 'checkpoint'), ...args, '--log-level', 'silent');
  assert.is(code, 2);
  assert.match(stderr, /^OUTPUT_UNWRITABLE: .*ENOTDIR/m);
});

test.run();
