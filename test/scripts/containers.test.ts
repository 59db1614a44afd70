/** The Dockerfiles as far as they can be checked without a container engine: see docs/containers.md for what cannot. */

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildProgram } from '../../lib/cli/main.ts';
import { root } from '../helpers/cli.ts';
import { testWhen } from '../helpers/skip.ts';
import { FakePolicy } from '../serve/fakePolicy.ts';
import { served } from '../serve/harness.ts';

const test = suite('Dockerfiles');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const files = { x64: 'docker/x64.Dockerfile', jetson: 'docker/jetson.Dockerfile' };
const manifest = JSON.parse(read('package.json')) as {
  engines: { node: string };
  files: string[];
  peerDependencies: Record<string, string>;
};

/** Instructions with their arguments; each is on one line of its own. */
function instructions(file: string): { readonly keyword: string; readonly text: string }[] {
  return read(file)
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, keyword, text] =
        /^([A-Z]+) (.*[^\\])$/.exec(line) ?? assert.unreachable(`${file}: ${line}`) ?? [];
      return { keyword: keyword!, text: text! };
    });
}

const runs = (file: string): string[] =>
  instructions(file).flatMap(({ keyword, text }) => (keyword === 'RUN' ? text.split(' && ') : []));

/** Of the documentation's tools, which scripts/docs.sh installs. */
const linter = join(root, 'site/node_modules/dockerfile-utils');

testWhen(
  existsSync(linter),
  'no linter of Dockerfiles: scripts/docs.sh installs it',
  test,
  'they parse, and nothing about them is complained of',
  () => {
    const { validate } = createRequire(import.meta.url)(linter) as {
      validate: (text: string) => { range: { start: { line: number } }; message: string }[];
    };
    assert.ok(validate('FORM x').length > 0);
    for (const file of Object.values(files)) {
      const found = validate(read(file)).map(({ range, message }) => `${range.start.line + 1}: ${message}`);
      assert.equal(found, [], file);
    }
  },
);

test('what is copied exists, and .dockerignore leaves out nothing that the package has', () => {
  const left = read('.dockerignore').trim().split('\n');
  // dist is built inside
  for (const file of [
    ...manifest.files,
    '.git',
    'package.json',
    'package-lock.json',
    '.npmrc',
    'tsconfig.json',
    'tsconfig.build.json',
  ])
    if (file !== 'dist')
      assert.ok(!left.includes(file) && existsSync(join(root, file.replace(/\/\*.*/, ''))), file);
  for (const file of Object.values(files)) {
    const stages = new Set<string>();
    for (const { keyword, text } of instructions(file)) {
      if (keyword === 'FROM') stages.add(/ AS (\w+)$/.exec(text)?.[1] ?? '');
      if (keyword !== 'COPY') continue;
      const [, from, source] = /^(?:--from=(\S+) )?(\S+) \S+$/.exec(text)!;
      if (from === undefined) assert.ok(existsSync(join(root, source!)), `${file}: ${source}`);
      else assert.ok(stages.has(from), `${file}: ${from}`);
    }
  }
});

test('packages, versions and commands are those of the tested pages', () => {
  const installing = read('docs/installing.md');
  const jetson = read('docs/jetson.md');
  const packages = 'apt-get install -y build-essential python3';
  assert.ok(installing.includes('build-essential python3') && jetson.includes(`${packages} cmake`));
  const x64 = runs(files.x64);
  // cmake and pip, which fetches ONNX Runtime's notices, for the release
  assert.ok(x64.includes(`${packages} python3-pip cmake`));
  assert.ok(x64.includes('npm ci') && read('README.md').includes('npm ci'));
  const release = 'node --import tsx scripts/release.ts --processors x64 --no-tensorrt';
  assert.ok(x64.includes(release) && read('README.md').includes(release));
  assert.ok(read('README.md').includes('npm install ../semanticvla/release/*.tgz'));
  assert.ok(x64.includes(`npm install /semanticvla/release/*.tgz sharp@${manifest.peerDependencies.sharp}`));
  const board = runs(files.jetson);
  assert.ok(board.includes(`${packages} cmake`) && board.includes('npm ci'));
  const native = board.find((line) => line.startsWith('npm run build:native'))!;
  assert.match(native, /^npm run build:native -- --archs \$\{ARCHS\}$/);
  assert.match(jetson, /npm run build:native -- --archs 87 +# Orin; 110 on Thor/);
  assert.match(read(files.jetson), /^ARG ARCHS=87$/m);
  for (const lines of [x64, board])
    assert.match(lines.at(-1) === 'chown node:node /cache' ? lines.at(-3)! : lines.at(-1)!, / doctor$/);
  for (const file of Object.values(files)) assert.match(read(file), /^FROM node:22-/m);
  assert.match(manifest.engines.node, />=22\.2/);
});

test('the server starts with flags that there are, and says where it is reached', () => {
  const serve = buildProgram(async () => {}).commands.find((command) => command.name() === 'serve')!;
  const longs = new Set(serve.options.map(({ long }) => long));
  for (const file of Object.values(files)) {
    const command = instructions(file).find(({ keyword }) => keyword === 'CMD')!;
    const [name, ...args] = JSON.parse(command.text) as string[];
    assert.is(name, 'serve');
    for (const arg of args.filter((one) => one.startsWith('--'))) assert.ok(longs.has(arg), arg);
    const entry = instructions(file).find(({ keyword }) => keyword === 'ENTRYPOINT')!;
    assert.match((JSON.parse(entry.text) as string[])[1]!, /\/bin\/semanticvla\.js$/);
    assert.ok(instructions(file).some(({ keyword, text }) => keyword === 'EXPOSE' && text === '8777 8000'));
    assert.match(read('docs/serving.md'), /^\| 8777 .*\n\| 8000 /m);
  }
});

test('the health check tells a server that is ready from none', async () => {
  const checks = Object.values(files).map((file) => {
    const { text } = instructions(file).find(({ keyword }) => keyword === 'HEALTHCHECK')!;
    return JSON.parse(/CMD (\[.*\])$/.exec(text)![1]!) as string[];
  });
  assert.equal(checks[0], checks[1]);
  const [, flag, script] = checks[0]!;
  const exitCode = (url: string): Promise<number | null> =>
    new Promise((resolve) =>
      spawn(process.execPath, [flag!, script!.replace('http://127.0.0.1:8777', url)]).on('close', resolve),
    );
  await served(new FakePolicy({ immediate: true }), {}, async ({ act }) => {
    assert.is(await exitCode(act), 0);
  });
  assert.is(await exitCode('http://127.0.0.1:1'), 1);
});

test.run();
