/** A release, made twice and installed from a registry on loopback, as scripts/release.ts and scripts/tryRelease.ts do it. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { PrebuiltFacts } from '../../lib/addon/nativeFiles.ts';
import { publishedManifest } from '../../scripts/release/mainPackage.ts';
import { pairs } from '../../scripts/tryRelease/managers.ts';
import { fetchPackages } from '../../scripts/tryRelease/tools.ts';
import { root } from '../helpers/cli.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { testWhen } from '../helpers/skip.ts';

const test = suite('release');

test('the published manifest runs nothing at installation and names both prebuilt packages in its own version', () => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  assert.is(manifest.scripts.install, 'node scripts/install.mjs', 'a clone compiles');
  const { scripts, optionalDependencies, dependencies, version } = publishedManifest(manifest, [
    'x64',
    'arm64',
  ]);
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare', 'prestart'])
    assert.not(name in scripts, name);
  assert.is(scripts['build:native'], manifest.scripts['build:native']);
  assert.is(optionalDependencies!['@semanticvla/linux-x64'], version);
  assert.is(optionalDependencies!['@semanticvla/linux-arm64'], version);
  assert.equal(dependencies, manifest.dependencies);
});

test('every manager is tried under Node 20 to 26 where it runs, and one in emulation', () => {
  const names = pairs.map(({ name }) => name);
  assert.is(new Set(names).size, names.length);
  for (const name of [
    'npm10@20',
    'npm11@26',
    'npm12@24',
    'pnpm12@20',
    'yarn1@22',
    'yarn4pnp@24',
    'bun@26',
    'npm11@22-arm64',
  ])
    assert.ok(names.includes(name), name);
});

const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
const has = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0;
const lacks = !isLong
  ? 'it compiles and fetches; SEMANTICVLA_LONG_TESTS=1 runs it'
  : !has('cmake', '--version')
    ? 'cmake is not there (apt-get install -y cmake)'
    : has('python3', '-m', 'pip', '--version') && has('npm', 'view', 'verdaccio@6.8.0', 'version')
      ? ''
      : 'PyPI and the npm registry are needed: python3 with pip, and a network';

function run(script: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', join(root, 'scripts', script), ...args],
    {
      cwd: root,
      encoding: 'utf8',
      timeout: 900_000,
    },
  );
  assert.is(status, 0, `${stdout}${stderr}`);
  return stdout;
}

/** What CycloneDX's own library, with its schemas, finds wrong in a bill of materials; null: nothing. */
async function faultsOf(bom: string): Promise<unknown> {
  const modules = fetchPackages('cyclonedx-10.3.0', {
    dependencies: {
      '@cyclonedx/cyclonedx-library': '10.3.0',
      ajv: '^8.12.0',
      'ajv-formats': '^3.0.1',
      'ajv-formats-draft2019': '^1.6.1',
    },
  });
  const { Validation } = createRequire(join(modules, 'here'))('@cyclonedx/cyclonedx-library') as {
    Validation: {
      JsonStrictValidator: new (version: string) => { validate(text: string): Promise<unknown> };
    };
  };
  const { specVersion } = JSON.parse(bom) as { specVersion: string };
  return await new Validation.JsonStrictValidator(specVersion).validate(bom);
}

testWhen(
  lacks === '',
  lacks,
  test,
  'made twice it is the same bytes; installed by npm without a compiler it predicts, repairs itself, and compiles by hand',
  async () => {
    const out = mkdtempSync(join(scratchFolder(), 'release-'));
    const processor = process.arch;
    assert.match(
      run('release.ts', '--processors', processor, '--no-tensorrt', '--again', '--out', out),
      /^made again: the same bytes$/m,
    );
    const [main, prebuilt] = ['semanticvla-', `semanticvla-linux-${processor}-`].map((stem) =>
      readdirSync(out).find(
        (name) => name.startsWith(stem) && /-\d[^-]*\.tgz$/.test(name.slice(stem.length - 1)),
      ),
    );
    assert.equal(readdirSync(out).length, 4, 'two tarballs, a bill of materials, SHA256SUMS');
    assert.ok(main !== undefined && prebuilt !== undefined);

    const list = spawnSync('tar', ['tzf', join(out, prebuilt)], { encoding: 'utf8' }).stdout;
    const licences = ['LICENSE', 'LICENSE-onnxruntime', 'NOTICE', 'ThirdPartyNotices-onnxruntime.txt'];
    for (const name of ['semanticvla.node', 'libonnxruntime.so.1', 'README.md', ...licences])
      assert.ok(list.split('\n').includes(`package/${name}`), name);
    const manifest = spawnSync('tar', ['xzfO', join(out, prebuilt), 'package/package.json'], {
      encoding: 'utf8',
    }).stdout;
    const { os, cpu, libc, semanticvla } = JSON.parse(manifest) as Record<string, unknown>;
    assert.equal([os, cpu, libc], [['linux'], [processor], ['glibc']]);
    const { glibc, glibcxx, onnxRuntime } = semanticvla as PrebuiltFacts;
    for (const version of [glibc, glibcxx, onnxRuntime]) assert.match(version, /^\d+\.\d+(\.\d+)?$/);

    const bomText = readFileSync(
      join(out, readdirSync(out).find((name) => name.endsWith('.cdx.json'))!),
      'utf8',
    );
    assert.is(await faultsOf(bomText), null);
    assert.is.not(await faultsOf(bomText.replace('"SHA-256"', '"SHA"')), null, 'a fault is found');
    const bom = JSON.parse(bomText);
    const described = bom.components.find(
      ({ name }: { name: string }) => name === `@semanticvla/linux-${processor}`,
    );
    const digest = described.hashes[0].content;
    assert.ok(readFileSync(join(out, 'SHA256SUMS'), 'utf8').includes(`${digest}  ${prebuilt}\n`));
    assert.ok(described.components.some(({ name }: { name: string }) => name === 'onnxruntime'));
    assert.ok(
      bom.components.some(({ name }: { name: string }) => name === 'ws'),
      'dependencies of the main package',
    );
    assert.not(
      bom.components.some(({ name }: { name: string }) => name === 'tsx'),
      'none of development',
    );

    const told = run('tryRelease.ts', '--release', out, '--repair', 'npm10@20');
    assert.match(told, /^ok {4}npm10@20 /m);
    const megabytes = Number(/([\d.]+) MB/.exec(told)![1]);
    assert.ok(megabytes < 130, `a robot installs at most 130 MB, found ${megabytes}`);
  },
);

test.run();
