/**
 * Attacks that need a separate process: unread logs, signals, hosts; and complete hostile bodies at
 * full size. The long ones run with SEMANTICVLA_LONG_TESTS=1.
 */

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, cpSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as tcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cli, inFolder, root } from '../helpers/cli.ts';
import { testWhen } from '../helpers/skip.ts';
import { actBody, connect, inTime, post, until } from './harness.ts';

const test = suite('attacked process');
const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
const reason = 'it takes a minute; SEMANTICVLA_LONG_TESTS=1 runs it';
const golden = join(root, 'test/golden/libero-tiny/checkpoint');
const key = ['--unnorm-key', 'libero_spatial_no_noops'];
const children: ChildProcess[] = [];

test.after(() => {
  for (const child of children) child.kill('SIGKILL');
});

interface Running {
  readonly child: ChildProcess;
  readonly act: string;
  readonly openpi: string;
}

async function start(stderr: 'pipe' | 'ignore' | number): Promise<Running> {
  const args = ['bin/semanticvla.js', 'serve', golden, ...key, '--act', '0', '--openpi', '0', '--json'];
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', stderr] });
  children.push(child);
  const line = new Promise<string>((resolve, reject) => {
    child.stdout!.once('data', (data: Buffer) => resolve(data.toString()));
    child.once('exit', (code) => reject(new Error(`it ended with ${code}`)));
  });
  return { child, ...(JSON.parse(await inTime(line, 'the addresses')) as { act: string; openpi: string }) };
}

/**
 * Sends `count` requests at once that are not JSON, and checks the answers. A connection whose answer nobody reads is not
 * reused.
 */
async function postBroken(act: string, count: number): Promise<void> {
  const one = async (): Promise<void> => {
    const answer = await post(act, '{');
    await answer.text();
    assert.is(answer.status, 400);
  };
  await Promise.all(Array.from({ length: count }, one));
}

async function end({ child }: Running): Promise<number | null> {
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const [code] = (await inTime(ended, 'the exit')) as [number | null];
  return code;
}

test('a full disk: requests are answered, SIGTERM ends it, the log is lost', async () => {
  const full = openSync('/dev/full', 'w');
  try {
    const running = await start(full);
    for (let i = 0; i < 20; i++) assert.is((await post(running.act, actBody())).status, 422);
    assert.is((await fetch(`${running.act}/healthz`)).status, 200);
    assert.is(await end(running), 0);
  } finally {
    closeSync(full);
  }
});

test('a socket that nobody reads: the same, and what was lost is said when it is read', async () => {
  const running = await start('pipe');
  const { child, act } = running;
  // At least 150 bytes per line; a pipe holds 64 KiB, and the log another 256.
  const lines = 4000;
  for (let i = 0; i < lines; i += 50) await postBroken(act, 50);
  assert.is((await fetch(`${act}/healthz`)).status, 200);
  let text = '';
  child.stderr!.on('data', (data: Buffer) => {
    text += data.toString();
  });
  await until(() => /"lost":\d+/.test(text), 'the number of lost lines');
  const lost = Number(/"lost":(\d+)/.exec(text)![1]);
  assert.ok(lost > 0 && lost < lines, `${lost} lost`);
  for (const line of text.trim().split('\n').slice(0, -1)) JSON.parse(line);
  assert.is(await end(running), 0);
});

test('unread: SIGTERM ends it, whether its log goes to a socket or to a pipe', async () => {
  // Also open for reading, so that a writer has a reader to wait for.
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-log-'));
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const ends = openSync(pipe, 'r+');
  try {
    for (const log of ['pipe', ends] as const) {
      const unread = await start(log);
      for (let i = 0; i < 1000; i += 50) await postBroken(unread.act, 50);
      assert.is(await end(unread), 0);
    }
  } finally {
    closeSync(ends);
    rmSync(folder, { recursive: true });
  }
});

test('SIGUSR1 opens no debugger, SIGUSR2 without a recorder ends nothing, a refused upgrade holds nothing', async () => {
  const running = await start('pipe');
  let text = '';
  running.child.stderr!.on('data', (data: Buffer) => {
    text += data.toString();
  });
  running.child.kill('SIGUSR1');
  running.child.kill('SIGUSR2');
  await until(() => /SIGUSR1/.test(text) && /--flight-recorder/.test(text), 'what the signals do');
  assert.not.match(text, /Debugger listening/);
  // A page of another origin: it is refused, and never closes its socket.
  const { hostname, port } = new URL(running.openpi);
  const socket = tcp(Number(port), hostname);
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.write(
    'GET / HTTP/1.1\r\nhost: x\r\norigin: http://evil.example\r\nupgrade: websocket\r\nconnection: upgrade\r\n' +
      'sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  );
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 403 /);
  assert.is(await end(running), 0);
  socket.destroy();
});

test('hosts: empty ones are refused, --insecure-no-auth and a token exclude each other', () => {
  for (const host of ['', ' ']) {
    const { code, stderr } = cli('serve', golden, ...key, '--host', host);
    assert.is(code, 2);
    assert.match(stderr, /^OPTION_INVALID: .*host/m);
  }
  const both = spawnSync(
    process.execPath,
    ['bin/semanticvla.js', 'serve', golden, ...key, '--host', '0.0.0.0', '--insecure-no-auth'],
    {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, SEMANTICVLA_TOKEN: 'correct-horse-battery-staple' },
    },
  );
  assert.is(both.status, 2);
  assert.match(both.stderr, /^OPTION_INVALID: .*--insecure-no-auth/m);
});

test('a checkpoint of two data sets without --unnorm-key is refused at the start, by name', async () => {
  await inFolder((folder) => {
    cpSync(golden, folder, { recursive: true });
    const file = join(folder, 'dataset_statistics.json');
    const statistics = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    const [one] = Object.values(statistics);
    writeFileSync(file, JSON.stringify({ ...statistics, another_data_set: one }));
    const { code, stderr } = cli('serve', folder, '--platform', 'libero', '--act', '0', '--openpi', '0');
    assert.is(code, 2);
    assert.match(stderr, /^UNNORM_KEY_REQUIRED: .*another_data_set/m);
  });
});

testWhen(
  isLong,
  reason,
  test,
  '32 MiB of escapes, quotes and blanks: answered, and health in between',
  async () => {
    const running = await start('ignore');
    const size = 32 * 2 ** 20 - 300;
    const shape = '","dtype":"|u1","shape":[3]}}';
    for (const unit of ['\\u0041', '\\n', '\\"', '\\\\', '\\/', '\\ud83d', ' ', '\t']) {
      const fill = unit.repeat(Math.floor(size / unit.length));
      for (const body of [
        `{"encoded":"${fill}"}`,
        `{"full_image":{"__numpy__":"${fill}${shape}`,
        `{"instruction":"${fill}"}`,
        ...(unit.trim() === '' ? [`{${fill}"a":1}`] : []),
      ]) {
        const answer = await post(running.act, body);
        assert.ok([400, 422].includes(answer.status), `${unit}: ${answer.status}`);
        assert.is((await fetch(`${running.act}/healthz`)).status, 200);
      }
    }
    const { socket, next } = connect(running.openpi);
    await next();
    socket.terminate();
    assert.is(await end(running), 0);
  },
);

test.run();
