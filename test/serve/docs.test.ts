/** docs/serving.md: its code blocks run against a server, and its tables agree with the code. */

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { clientErrors } from '../../lib/serve/failure.ts';
import { defaultLimits } from '../../lib/serve/limits.ts';
import { cli, root } from '../helpers/cli.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import { testWhen } from '../helpers/skip.ts';
import { FakePolicy } from './fakePolicy.ts';
import { post, type Served, served } from './harness.ts';
import { peersOfTest } from './pythonPeers.ts';

const test = suite('docs/serving.md');
const page = readFileSync(join(root, 'docs/serving.md'), 'utf8');
const peers = peersOfTest();

function blocks(language: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map((found) => found[1]!);
}

/** First cells of the table whose header begins like this. */
function firstCells(head: string): string[] {
  const lines = page.slice(page.indexOf(`| ${head} |`)).split('\n');
  const end = lines.findIndex((line) => !line.startsWith('|'));
  return lines.slice(2, end).map((line) => line.split('|')[1]!.trim());
}

function withPorts(code: string, { act, openpi }: Served): string {
  return code
    .replaceAll('http://127.0.0.1:8777', act)
    .replaceAll('ws://127.0.0.1:8000', openpi)
    .replaceAll('port=8000', `port=${new URL(openpi).port}`);
}

async function run(command: string, args: readonly string[], cwd = root): Promise<string> {
  const child = spawn(command, args, { cwd, timeout: 180_000, env: { ...process.env, FORCE_COLOR: '0' } });
  let [out, err] = ['', ''];
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (err += data.toString()));
  const code = await new Promise((resolve, reject) => child.on('close', resolve).on('error', reject));
  assert.is(code, 0, `${out}${err}`);
  return out;
}

/** Calls `body` with a folder of its own. */
async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-docs-'));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

testWhen(peers.python !== null, peers.reason, test, 'the Python clients', async () => {
  const [act, openpi, ...more] = blocks('python');
  assert.equal(more, []);
  await served(new FakePolicy({ immediate: true }), {}, async (server) => {
    assert.is(await run(peers.python!, ['-c', withPorts(act!, server)]), '[0. 1. 2.]\n[10. 11. 12.]\n');
    assert.match(
      await run(peers.python!, ['-c', withPorts(openpi!, server)]),
      /\[\[ 0\. +1\. +2\.\]\n.*infer_ms/s,
    );
  });
});

test('the TypeScript: a server, and both clients', async () => {
  const [server, clients, ...more] = blocks('ts');
  assert.equal(more, []);
  const lib = JSON.stringify(join(root, 'lib/index.ts'));
  const program = (code: string): string => code.replaceAll("'semanticvla'", lib);
  await inFolder(async (folder) => {
    const serverFile = join(folder, 'server.mts');
    const own = server!
      .replace('CHECKPOINT', goldenCheckpoint('libero-tiny'))
      .replace('port: 8777', 'port: 0')
      .replace('port: 8000', 'port: 0');
    // It would go on serving; here it ends once it has said where.
    writeFileSync(serverFile, `${program(own)}await server.close();\n`);
    const clientFile = join(folder, 'clients.mts');
    await served(new FakePolicy({ immediate: true }), {}, async (where) => {
      writeFileSync(clientFile, program(withPorts(clients!, where)));
      const [serverOut, clientsOut] = await Promise.all(
        [serverFile, clientFile].map((file) => run(process.execPath, ['--import', 'tsx', file])),
      );
      assert.match(serverOut!, /^http:\/\/127\.0\.0\.1:\d+ ws:\/\/127\.0\.0\.1:\d+$/m);
      assert.is(clientsOut!.match(/\[ 2, 3 \] Float64Array\(6\) \[/g)?.length, 2, clientsOut);
    });
  });
});

test('curl, with the body of the page', async () => {
  const code = blocks('sh').find((block) => block.startsWith('curl'));
  const [body] = blocks('json');
  await inFolder(async (folder) => {
    writeFileSync(join(folder, 'observation.json'), body!);
    await served(new FakePolicy({ immediate: true }), {}, async (server) => {
      const out = await run('sh', ['-ec', withPorts(code!, server)], folder);
      assert.match(out, /^OK\n\[\{"__numpy__":/);
    });
  });
});

test('every flag is one of the command', () => {
  const flagsOf = (text: string): Set<string> => new Set(text.match(/--[a-z][a-z-]+/g));
  const bench = /`semanticvla bench [^`]*`/g;
  // Of curl and of the benchmark's interpreter.
  const others = ['--silent', '--fail', '--data', '--header', '--import', '--beside'];
  for (const [command, text] of [
    ['serve', page.replace(bench, '')],
    ['bench', page.match(bench)!.join(' ')],
  ] as const) {
    const { stdout } = cli(command, '--help');
    const flags = flagsOf(text);
    for (const other of others) flags.delete(other);
    assert.ok(flags.size >= 3);
    for (const flag of flags) assert.ok(stdout.includes(flag), `${flag} is not in the help of ${command}`);
  }
});

test('the tables: error codes, limits, metrics', async () => {
  const codes = firstCells('code').map((cell) => cell.replaceAll('`', ''));
  for (const code of Object.keys(clientErrors)) assert.ok(codes.includes(code), `${code} is missing`);
  for (const [name, value] of Object.entries(defaultLimits))
    assert.ok(page.includes(`| \`${name}\` | ${value} |`), `limit ${name}`);
  assert.is(firstCells('limit').length, Object.keys(defaultLimits).length);
  const listed = firstCells('metric').flatMap((cell) => cell.match(/[a-z_]+(?=[`{])/g) ?? []);
  await served(new FakePolicy({ immediate: true }), {}, async ({ server, act }) => {
    await post(act, '{');
    const text = await server.metrics();
    const types = [...text.matchAll(/^# TYPE (\S+)/gm)].map((found) => found[1]!);
    assert.equal([...listed].sort(), types.sort());
  });
});

test.run();
