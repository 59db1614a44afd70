/** Commands that print a line every so often: nvidia-smi and tegrastats, played by scripts. */

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LineStream } from '../../lib/machine/lineStream.ts';
import { gpuMoment, parseGpuCells, powerOf, readGpuCells } from '../../lib/machine/nvidiaSmi.ts';
import { openSensors } from '../../lib/machine/sensors.ts';
import type { Reading } from '../../lib/machine/types.ts';
import { machineProbe } from '../../lib/support/machineProbe.ts';
import { fakeNothing, fakeOrin, probeOf } from './fakeMachines.ts';
import { orin } from './recorded.ts';

const test = suite('sensor streams');
const endless = 1e9;

/** Waits for what a process does, however busy the machine is. */
async function until<T>(look: () => T | null): Promise<T> {
  for (let i = 0; i < 3000; i++) {
    const seen = look();
    if (seen !== null) return seen;
    await sleep(10);
  }
  throw new Error('nothing came in 30 s');
}

async function withCommand(name: string, script: string, body: () => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-stream-'));
  const path = process.env.PATH;
  try {
    writeFileSync(join(dir, name), `#!/bin/sh\n${script}`);
    chmodSync(join(dir, name), 0o755);
    process.env.PATH = `${dir}${delimiter}${path}`;
    await body();
  } finally {
    process.env.PATH = path;
    rmSync(dir, { recursive: true, force: true });
  }
}

const value = (readings: readonly Reading[], name: string): number | undefined =>
  readings.find((reading) => reading.name === name)?.value;

test('the newest whole line counts; one that is cut off does not', async () => {
  const stream = new LineStream('sh', ['-c', 'printf "one\\ntwo\\nthr"; exec sleep 100']);
  try {
    assert.is(await until(() => stream.latest(endless)), 'two');
    assert.is(stream.latest(-1), null, 'too old');
  } finally {
    stream.close();
    stream.close();
  }
});

test('a command that is not there or ends at once: no line, no error', async () => {
  // closed before the failure is told
  new LineStream('/no/such/command', []).close();
  for (const stream of [
    new LineStream('/no/such/command', []),
    new LineStream('sh', ['-c', 'exit 3']),
    new LineStream('sh', ['-c', 'head -c 200000 /dev/zero; exec sleep 100']),
  ]) {
    await sleep(50);
    assert.is(stream.latest(endless), null);
    stream.close();
  }
});

const fields = [
  ...(['clocks.current.graphics', 'clocks.current.memory', 'temperature.gpu', 'utilization.gpu'] as const),
  ...(['utilization.memory', 'power.draw.instant', 'clocks_event_reasons.active'] as const),
];

test('a line of nvidia-smi, and what a GPU does not tell', () => {
  const parse = (line: string) => {
    const parsed = parseGpuCells(`${line}\n`, fields);
    return 'value' in parsed ? gpuMoment(parsed.value) : null;
  };
  assert.equal(parse('2520, 10251, 71, 97, 43, 412.50, 0x0000000000000024'), {
    clock: 2520,
    memoryClock: 10251,
    temperature: 71,
    watts: 412.5,
    reasons: ['sw_power_cap', 'sw_thermal_slowdown'],
    loads: [
      { name: 'gpu', value: 97 },
      { name: 'gpu-memory', value: 43 },
    ],
  });
  const bare = parse('1575, [N/A], 62, [N/A], [N/A], [Not Supported], 0x0000000000000000')!;
  assert.equal([bare.memoryClock, bare.watts, bare.loads, bare.reasons], [null, null, [], []]);
  for (const line of ['', '1,2,3', '2520, 10251, 71, 97, 43, 412.50']) assert.is(parse(line), null, line);
  assert.is(parse('2520, 10251, 71, 97, 43, 41x, 0x24')!.watts, null);
});

test('drivers that do not know the newest power, or the new name of the reasons, are asked in older ways', () => {
  const known = { name: 'GPU', 'clocks.current.graphics': '2520', 'temperature.gpu': '71' };
  const asked = (gpu: Readonly<Record<string, string>> | undefined): unknown => {
    const cells = readGpuCells(probeOf({ files: {}, ...(gpu === undefined ? {} : { gpu }) }));
    if (cells === null || !('value' in cells)) return 'none';
    const { clock, watts, reasons } = gpuMoment(cells.value);
    return [clock, watts, powerOf(cells.value)?.periodMs ?? null, reasons];
  };
  const [newest, mean] = [{ 'power.draw.instant': '300.5' }, { 'power.draw': '412.50' }];
  const [event, older] = [
    { 'clocks_event_reasons.active': '0x4' },
    { 'clocks_throttle_reasons.active': '0x20' },
  ];
  assert.equal(asked({ ...known, ...newest, ...mean, ...event, ...older }), [
    2520,
    300.5,
    100,
    ['sw_power_cap'],
  ]);
  assert.equal(asked({ ...known, ...mean, ...older }), [2520, 412.5, 1000, ['sw_thermal_slowdown']]);
  // the newest is not told by this card, the mean is
  assert.equal(asked({ ...known, 'power.draw.instant': '[N/A]', ...mean, ...event }), [
    2520,
    412.5,
    1000,
    ['sw_power_cap'],
  ]);
  assert.equal(asked({ ...known, 'power.draw.instant': '[N/A]', ...event }), [
    2520,
    null,
    null,
    ['sw_power_cap'],
  ]);
  assert.is(asked(undefined), 'none');
});

test('one nvidia-smi stays and is read again and again; when it dies its sensors are gone', async () => {
  const script = `for last; do :; done
case "$last" in
  --loop-ms=*) while read -r watts; do echo "2520, 10251, 71, 97, 43, $watts, $watts, 0x0000000000000004, 0x0000000000000004"; done < "$WATTS"; exec sleep 100 ;;
  *) echo "2520, 10251, 71, 97, 43, 10.00, 10.00, 0x0000000000000000, 0x0000000000000000" ;;
esac
`;
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-watts-'));
  try {
    writeFileSync(join(dir, 'watts'), '300.25\n310.50\n');
    process.env.WATTS = join(dir, 'watts');
    await withCommand('nvidia-smi', script, async () => {
      // this machine's commands, and no sensor of its own
      const probe = { ...probeOf(fakeNothing), run: machineProbe.run };
      const sensors = openSensors(probe, 20);
      try {
        assert.is(sensors.pids.length, 1);
        const seen = await until(() => {
          const snapshot = sensors.read();
          return value(snapshot.power, 'gpu-board') === 310.5 ? snapshot : null;
        });
        assert.is(value(seen.clocks, 'gpu'), 2520);
        assert.is(value(seen.clocks, 'gpu-memory'), 10251);
        assert.is(value(seen.temperatures, 'gpu'), 71);
        assert.is(value(seen.loads ?? [], 'gpu'), 97);
        assert.equal(seen.throttling, ['sw_power_cap']);
        assert.is(sensors.powerPeriodMs, 100);
        // it prints nothing any more: after a second what it said is no longer now
        await until(() => (value(sensors.read().power, 'gpu-board') === undefined ? true : null));
        assert.equal(sensors.read().throttling, []);
      } finally {
        sensors.close();
      }
    });
  } finally {
    Reflect.deleteProperty(process.env, 'WATTS');
    rmSync(dir, { recursive: true, force: true });
  }
});

test('a container with tegrastats and without sensors: its lines are the sensors', async () => {
  const script = `while :; do echo '${orin.tegrastats[0]}'; sleep 0.05; done`;
  await withCommand('tegrastats', script, async () => {
    const probe = probeOf({ files: { '/etc/nv_tegra_release': fakeOrin.files['/etc/nv_tegra_release']! } });
    const sensors = openSensors(probe, 50);
    try {
      const seen = await until(() => {
        const snapshot = sensors.read();
        return snapshot.power.length > 0 ? snapshot : null;
      });
      assert.is(value(seen.power, 'VDD_GPU_SOC'), 2.412);
      assert.ok(Math.abs(value(seen.power, 'total')! - (2.412 + 1.607 + 4.707)) < 1e-9);
      assert.is(value(seen.clocks, 'emc'), 2133);
      assert.is(value(seen.loads ?? [], 'emc'), 3);
      assert.is(value(seen.temperatures, 'tj'), 52.562);
    } finally {
      sensors.close();
    }
  });
});

test.run();
