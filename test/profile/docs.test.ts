/** docs/profiling.md is true: its commands run (with few iterations), its recorded blocks have the rows that are printed. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatTable } from '../../lib/cli/format.ts';
import { machineRows } from '../../lib/machine/machineRows.ts';
import { readMachine } from '../../lib/machine/readMachine.ts';
import { machineWarnings } from '../../lib/machine/warnings.ts';
import { freePort } from '../../scripts/freePort.ts';
import { root } from '../helpers/cli.ts';
import { testWhen } from '../helpers/skip.ts';
import { fakeOrin, probeOf } from '../machine/fakeMachines.ts';

const test = suite('docs/profiling.md');
const text = readFileSync(join(root, 'docs/profiling.md'), 'utf8');

/** Text of the fenced blocks of a kind, in order. */
function blocks(kind: string): string[] {
  return [...text.matchAll(/^```(.+)\n([\s\S]*?)^```$/gm)].flatMap(([, name, body]) =>
    name === kind ? [body!] : [],
  );
}

/** What is appended to a command so that a test has the time for it; of a flag given twice the last counts. */
const quick: Readonly<Record<string, readonly string[]>> = {
  bench: ['--warm-up', '10', '--iterations', '4', '--duration', '0.01', '--limit', '5', '--turn', '100'],
  profile: ['--iterations', '2', '--warm-up', '1'],
  serve: ['--log-level', 'warn'],
};

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(command: string, args: readonly string[], cwd: string, path: string): Promise<Ran> {
  const env = { ...process.env, NO_COLOR: '1', PATH: `${path}${delimiter}${process.env.PATH}` };
  const child = spawn(command, args, { cwd, env, timeout: 120_000 });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (data: Buffer) => {
    stdout += data.toString();
  });
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

async function inWorkshop(body: (dir: string, bin: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-docs-'));
  const bin = join(dir, 'bin');
  try {
    mkdirSync(bin);
    const cases = Object.entries(quick).map(([name, flags]) => `${name}) more=(${flags.join(' ')});;`);
    writeFileSync(
      join(bin, 'semanticvla'),
      `#!/bin/bash\nmore=()\ncase "$1" in ${cases.join(' ')} esac\nexec ${process.execPath} ${join(root, 'bin/semanticvla.js')} "$@" "\${more[@]}"\n`,
    );
    chmodSync(join(bin, 'semanticvla'), 0o755);
    symlinkSync(join(root, 'test/golden/libero-tiny/checkpoint'), join(dir, 'policy'));
    await body(dir, bin);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** First cells of rows that are words alone: names with numbers, and sentences, are of one machine or one policy. */
function labels(block: string): string[] {
  return block.split('\n').flatMap((line) => {
    const [label, ...cells] = line.trim().split(/ {2,}/);
    return cells.length > 0 && /^[a-z][a-z ,()A-Z]*$/.test(label!) ? [label!] : [];
  });
}

testWhen(
  process.env.SEMANTICVLA_LONG_TESTS === '1',
  'it runs a dozen benchmarks and profiles; SEMANTICVLA_LONG_TESTS=1 runs it',
  test,
  'every command runs, and prints the rows that the page shows',
  async () => {
    await inWorkshop(async (dir, bin) => {
      const port = await freePort();
      const outputs: string[] = [];
      for (const block of blocks('sh')) {
        const script = block.replaceAll('8790', String(port));
        const { code, stdout, stderr } = await run('bash', ['-euo', 'pipefail', '-c', script], dir, bin);
        // four chunks are too few for a gate to say anything but that
        const allowed = block.includes('--fail-if') ? [0, 1, 4] : [0];
        assert.ok(allowed.includes(code!), `${code}: ${script}\n${stdout}\n${stderr}`);
        outputs.push(stdout);
      }
      const printed = new Set(labels(outputs.join('\n')));
      for (const name of ['bench', 'profile', 'roofline']) {
        const shown = labels(blocks(`text ${name}`)[0]!);
        if (name !== 'roofline') assert.ok(shown.length >= 8, `${name}: ${shown.join()}`);
        for (const label of shown) assert.ok(printed.has(label), `${name}: ${label}\n${[...printed].join()}`);
      }
      assert.match(outputs.join('\n'), /^(PASS|FAIL|TOO NOISY TO TELL) +p50 > 1\.05x {2}policy cpu\b/m);
      assert.ok(
        readdirSync(dir).includes('report.html') && readdirSync(dir).includes('chunk.perfetto-trace'),
      );
      assert.ok(readdirSync(join(dir, 'flights')).length >= 1);
    });
  },
);

test('the block of an Orin is what its recorded text gives', () => {
  const machine = readMachine({ probe: probeOf(fakeOrin) });
  const rows = formatTable(
    machineRows(machine).map(([label, value]) => [label, value]),
    ['left', 'left'],
  );
  const warnings = machineWarnings(machine).map(({ code, text: words }) => `WARNING ${code}: ${words}`);
  assert.is(blocks('text orin')[0], `${[rows, ...warnings].join('\n')}\n`);
});

test('commands for a board need a board; warnings of the machine are all on the page', () => {
  const commands = blocks('sh board').flatMap((block) => block.trim().split('\n'));
  assert.ok(commands.length >= 3);
  for (const line of commands) assert.match(line, /^sudo (nvpmodel|jetson_clocks|systemctl) /);
  const source = readFileSync(join(root, 'lib/machine/warnings.ts'), 'utf8');
  const codes = [...source.matchAll(/^ {2}'?([a-z]+(?:-[a-z]+)*)'?: \(/gm)].map(([, code]) => code!);
  assert.ok(codes.length >= 9, codes.join());
  const series = readFileSync(join(root, 'lib/machine/seriesWarnings.ts'), 'utf8');
  const moments = [...series.matchAll(/told\(\s+'([a-z-]+)'/g)].map(([, code]) => code!);
  assert.is(moments.length, 3, moments.join());
  for (const code of [...codes, ...moments]) assert.ok(text.includes(`\`${code}\``), code);
});

test('the loop of the page runs as printed and leaves a trace', async () => {
  await inWorkshop(async (dir, bin) => {
    const [snippet] = blocks('ts');
    const index = pathToFileURL(join(root, 'dist/index.js')).href;
    const before = `import { parseLatency, simulatedPolicy } from '${index}';
const policy = simulatedPolicy({ dimensions: ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'], chunk: 8, latency: parseLatency('constant(20)'),
  platform: { name: 'libero', cameras: ['full_image'], proprio: false, centerCrop: true, jpeg: true, chunk: 8, normalization: 'q99' } });
const instruction = 'go';
const observe = () => ({ observation: { images: {} }, at: performance.now() });
const act = () => {};
`;
    const after = `
await new Promise((resolve) => setTimeout(resolve, 400));
await loop.stop();
console.log(String(recorder.chunks.count), 'chunks');
console.log(await flights.dump());
`;
    writeFileSync(
      join(dir, 'loop.mts'),
      `${before}${snippet!.replace("'semanticvla'", `'${index}'`)}${after}`,
    );
    const { code, stdout, stderr } = await run(
      process.execPath,
      ['--import', import.meta.resolve('tsx'), 'loop.mts'],
      dir,
      bin,
    );
    assert.is(code, 0, stderr);
    assert.ok(
      /^[1-9]\d* chunks\nflights\/flight-.*-request\.perfetto-trace$/m.test(stdout),
      `${stdout}${stderr}`,
    );
  });
});

test.run();
