import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { inFlags } from '../../lib/cli/flagNames.ts';
import { buildProgram } from '../../lib/cli/main.ts';
import { cli, inFolder, root, startCli } from '../helpers/cli.ts';

const test = suite('command line');
/** Each takes a process of its own: most of them only with SEMANTICVLA_LONG_TESTS=1. */
const allCommands = [
  'doctor',
  'inspect',
  'synth',
  'export',
  'build',
  'predict',
  'stages',
  'compare',
  'view',
  'profile',
  'bench',
];
const commands =
  process.env.SEMANTICVLA_LONG_TESTS === '1'
    ? allCommands
    : allCommands.filter((name) => /^(doctor|predict)$/.test(name));

test('every command explains itself, with an example, on standard output', () => {
  const overview = cli('--help');
  assert.is(overview.code, 0);
  assert.match(overview.stdout, /Exit codes: 0 done; 1 .* 2 .* 130 cancelled/s);
  for (const command of allCommands) assert.match(overview.stdout, new RegExp(`^ {2}${command} `, 'm'));
  for (const command of commands) {
    const { code, stdout, stderr } = cli(command, '--help');
    assert.is(code, 0, command);
    assert.is(stderr, '', command);
    assert.match(stdout, new RegExp(`^Usage: semanticvla ${command} `), command);
    assert.match(stdout, new RegExp(`Example:\\n {2}\\$ semanticvla ${command}`), command);
    assert.match(stdout, /--json/, command);
    assert.not.match(
      stdout,
      /^ +--[a-z-]+[A-Z]|default: (?:\[\]|none\))/m,
      `${command}: camel case, empty defaults`,
    );
    if (stdout.includes('--observation <')) assert.match(stdout, /observation\.json, \{/, command);
  }
});

test('the version is that of the package', () => {
  const { code, stdout } = cli('--version');
  assert.is(code, 0);
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

test('without a command: the help on standard error, exit code 2', () => {
  const { code, stdout, stderr } = cli();
  assert.is(code, 2);
  assert.is(stdout, '');
  assert.is(stderr.match(/^Usage: /gm)?.length, 1);
});

test('usage errors: exit code 2, one line CODE: message, the misspelling recognised', () => {
  const observation = ['--observation', 'nowhere'];
  const cases: [string[], RegExp][] = [
    [['predict', 'x', ...observation, '--instrction', 'y'], /^OPTION_UNKNOWN: .*--instrction.*--instruction/],
    [['predict', 'x', ...observation, '--unorm-key', 'y'], /^OPTION_UNKNOWN: .*--unorm-key.*--unnorm-key/],
    [['predikt'], /^OPTION_UNKNOWN: .*predikt.*predict/],
    [['predict'], /^OPTION_REQUIRED: /],
    [['predict', 'x'], /^OPTION_REQUIRED: .*--observation/],
    [['predict', 'x', ...observation, '--chunk', '0'], /^OPTION_INVALID: .*--chunk.*>= 1/],
    [['predict', 'x', ...observation, '--platform', 'mars'], /^OPTION_INVALID: .*libero/],
    [['synth', 'huge', '--out', 'x'], /^OPTION_INVALID: .*tiny, libero/],
    [['compare', 'a'], /^OPTION_REQUIRED: /],
    [['roofline', '--preset', 'libero', '--device', 'thor'], /^OPTION_UNKNOWN: --device .*use --hardware/],
    [['roofline', '--preset', 'libero', '--cameras', '3'], /^OPTION_INVALID: .*--cameras.*Expected names/],
    [['profile', 'x', '--exportProfile', 'a'], /^OPTION_UNKNOWN: --exportProfile .*--export-profile/],
    [['compare', 'a', 'b', '--atol', '-1'], /^OPTION_INVALID: /],
  ];
  for (const [args, message] of cases) {
    const { code, stdout, stderr } = cli(...args);
    assert.is(code, 2, args.join(' '));
    assert.is(stdout, '', args.join(' '));
    assert.match(stderr, message);
    assert.is(stderr.trimEnd().split('\n').length, 1, stderr);
  }
});

test('errors of the API name the flag that was typed, or was not', () => {
  const checkpoint = join(root, 'test/golden/libero-tiny/checkpoint');
  const observed = ['--observation', join(root, 'test/golden/libero-tiny/obs0')];
  const { code, stderr } = cli(
    'predict',
    checkpoint,
    ...observed,
    ...['--platform', 'libero', '--unnorm-key', 'x', '--instruction', 'lift the cup'],
  );
  assert.is(code, 2);
  assert.match(stderr, /^UNNORM_KEY_UNKNOWN: /m);
  const program = buildProgram(async () => {});
  const predict = program.commands.find((command) => command.name() === 'predict');
  const serve = program.commands.find((command) => command.name() === 'serve');
  for (const [command, said, expected] of [
    [predict, 'expected option unnormKey, since', 'expected --unnorm-key, since'],
    [predict, 'with the option cacheDir.', 'with --cache.'],
    [predict, 'Option proprio of x: expected false', '--proprio of x: expected false'],
    [predict, 'Expected a number for chunk but received', 'Expected a number for --chunk but received'],
    [
      predict,
      'Expected a path for option tensorRt but received',
      'Expected a path for --tensorrt but received',
    ],
    [serve, 'Option keys.cameras: expected cameras', '--camera: expected cameras'],
    [predict, 'Option keys.cameras: expected cameras', 'Option keys.cameras: expected cameras'],
    [predict, 'Option policy: expected none', 'Option policy: expected none'],
    [undefined, 'expected option unnormKey', 'expected option unnormKey'],
  ] as const) {
    assert.is(inFlags(said, command), expected);
  }
  // every option of loadPolicy that a flag can set has one
  const names =
    'platform cameras unnormKey chunk normalization proprio centerCrop jpeg backend threads weights precision tensorRt device graphs siglipText cacheDir';
  for (const name of names.split(' '))
    assert.match(inFlags(`expected option ${name},`, predict), /^expected --[a-z-]+,$/);
});

test('typed errors: exit code 2 and no stack; with --json also as JSON; the stack when asked for', () => {
  const args = ['inspect', 'no-such-folder', '--json'];
  const { code, stdout, stderr } = cli(...args);
  assert.is(code, 2);
  assert.match(stderr, /^CHECKPOINT_NOT_FOUND: no-such-folder: .*\n$/);
  const { error } = JSON.parse(stdout);
  assert.equal(Object.keys(error), ['code', 'message']);
  assert.is(`${error.code}: ${error.message}\n`, stderr);
  const debug = spawnSync(process.execPath, ['bin/semanticvla.js', ...args], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, SEMANTICVLA_DEBUG: '1' },
  });
  assert.match(debug.stderr, /\n {4}at /);
});

test('SIGINT: exit code 130, and what was half done is gone', async () => {
  await inFolder(async (dir) => {
    // About 1.4 GB: seconds to write, and hardly any of it is written before the signal.
    const sizes = [
      '--llama-width',
      '2048',
      '--llama-layers',
      '8',
      '--llama-heads',
      '16',
      '--llama-mlp',
      '8192',
    ];
    const child = startCli('synth', 'tiny', ...sizes, '--out', join(dir, 'policy'));
    let stderr = '';
    child.stderr?.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    const ended = new Promise<number | null>((settle) => child.on('close', settle));
    const deadline = Date.now() + 30_000;
    while (readdirSync(dir).length === 0 && child.exitCode === null && Date.now() < deadline) await sleep(20);
    assert.is(readdirSync(dir).length, 1, `it has begun to write; ${stderr}`);
    child.kill('SIGINT');
    assert.is(await ended, 130);
    assert.match(stderr, /cancelled\n$/);
    assert.equal(readdirSync(dir), []);
  });
});

test('an old Node gets one sentence', () => {
  const needed = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node as string;
  const answer = (version: string) => {
    const pretend = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } });`;
    return spawnSync(
      process.execPath,
      ['--import', `data:text/javascript,${encodeURIComponent(pretend)}`, 'bin/semanticvla.js', '--version'],
      { cwd: root, encoding: 'utf8' },
    );
  };
  for (const version of ['18.19.1', '20.14.0', '21.7.3', '22.1.0']) {
    const { status, stderr } = answer(version);
    assert.is(status, 2);
    assert.is(stderr.split('; ')[0], `semanticvla needs Node ${needed} and found ${version}`);
    assert.is(stderr.trimEnd().split('\n').length, 1);
  }
  for (const version of ['20.15.0', '22.2.0', '23.0.0']) assert.is(answer(version).status, 0, version);
});

test('a package that is not built says how to build it', async () => {
  await inFolder((dir) => {
    mkdirSync(join(dir, 'bin'));
    writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
    copyFileSync(join(root, 'bin/semanticvla.js'), join(dir, 'bin/semanticvla.js'));
    const { status, stderr } = spawnSync(process.execPath, [join(dir, 'bin/semanticvla.js')], {
      encoding: 'utf8',
    });
    assert.is(status, 2);
    assert.match(stderr, /npm run build/);
  });
});

test.run();
