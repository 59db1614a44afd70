/** Which TensorRT is chosen, with made-up folders and small libraries that only know their version. */

import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { missingBuilderResource, requireBuilderResource } from '../../lib/engine/builderResource.ts';
import { findParser, findTensorRt, locate } from '../../lib/engine/findTensorRt.ts';
import { type PlaceOptions, tensorRtPlaces } from '../../lib/engine/tensorRtPlaces.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { machineProbe } from '../../lib/support/machineProbe.ts';
import { scratchFolder } from '../helpers/golden.ts';

const find = suite('engine/findTensorRt');

function folder(): string {
  return mkdtempSync(join(scratchFolder(), 'tensorrt-'));
}

/** A machine with nothing installed except what `env` names. */
function bare(env: Record<string, string> = {}, run: PlaceOptions['run'] = () => null): PlaceOptions {
  return { env: { HOME: folder(), ...env }, root: folder(), arch: process.arch, run };
}

function throwsCode(body: () => unknown, code: string, ...patterns: RegExp[]): void {
  assert.throws(body, (error: unknown) => {
    assert.instance(error, SemanticVlaError);
    assert.is((error as SemanticVlaError).code, code);
    for (const pattern of patterns) assert.match((error as SemanticVlaError).message, pattern);
    return true;
  });
}

/** A shared library that reports this version. */
function fakeLibrary(path: string, version: readonly [number, number, number, number]): string {
  const source = `${path}.c`;
  const names = ['Major', 'Minor', 'Patch', 'Build'];
  writeFileSync(
    source,
    names.map((part, i) => `int getInferLib${part}Version(void) { return ${version[i]}; }\n`).join(''),
  );
  execFileSync(process.env.CC ?? 'cc', ['-shared', '-fPIC', '-o', path, source]);
  return path;
}

find('nothing found: every place tried and the commands that install it are named', () => {
  const tried = folder();
  throwsCode(
    () => locate({ family: 'trt11' }, bare({ LD_LIBRARY_PATH: tried })),
    'TENSORRT_NOT_FOUND',
    /libnvinfer\.so\.11/,
    /pip install tensorrt-rtx-cu13-libs/,
    /nvidia-jetpack/,
    new RegExp(`Tried: ${tried} \\(LD_LIBRARY_PATH\\)`),
    /unpacked archive|system and JetPack/,
  );
});

find('a FIFO or a folder with the name of a library is not one, and nothing waits for it', () => {
  const place = folder();
  const pipe = join(place, 'libnvinfer.so.11');
  execFileSync('mkfifo', [pipe]);
  mkdirSync(join(place, 'libtensorrt_rtx.so.1'));
  throwsCode(() => locate({ path: pipe }, bare()), 'TENSORRT_NOT_FOUND', /found something else there/);
  throwsCode(() => locate({ path: place }, bare()), 'TENSORRT_NOT_FOUND');
});

find('a path that is named decides alone, also when it is wrong', () => {
  const good = folder();
  writeFileSync(join(good, 'libtensorrt_rtx.so.1'), '');
  const machine = bare({ LD_LIBRARY_PATH: good });
  throwsCode(
    () => locate({ path: '/nowhere/libnvinfer.so.10' }, machine),
    'TENSORRT_NOT_FOUND',
    /nowhere/,
    /the path given/,
  );
  throwsCode(
    () => locate({}, bare({ LD_LIBRARY_PATH: good, SEMANTICVLA_TENSORRT: '/nowhere' })),
    'TENSORRT_NOT_FOUND',
    /SEMANTICVLA_TENSORRT/,
  );
  assert.is(locate({ path: good }, bare()).library, join(good, 'libtensorrt_rtx.so.1'));
  assert.is(
    locate({ path: join(good, 'libtensorrt_rtx.so.1') }, bare()).library,
    join(good, 'libtensorrt_rtx.so.1'),
  );
  const sdk = folder();
  mkdirSync(join(sdk, 'lib'));
  writeFileSync(join(sdk, 'lib/libnvinfer.so.10'), '');
  assert.is(locate({ path: sdk }, bare()).library, join(sdk, 'lib/libnvinfer.so.10'));
});

find('two families are refused with the list until one is named', () => {
  const both = folder();
  for (const name of ['libtensorrt_rtx.so.1', 'libnvinfer.so.10']) writeFileSync(join(both, name), '');
  throwsCode(
    () => locate({ path: both }, bare()),
    'TENSORRT_AMBIGUOUS',
    /libtensorrt_rtx\.so\.1/,
    /libnvinfer\.so\.10/,
    /--tensorrt PATH/,
  );
  assert.match(locate({ path: both, family: 'trt10' }, bare()).library, /libnvinfer\.so\.10$/);
});

find('places: ldconfig, archives, Python packages, the cache, each once and in order', () => {
  const home = folder();
  mkdirSync(join(home, 'TensorRT-RTX-1.6.1.120/lib'), { recursive: true });
  mkdirSync(join(home, '.cache/semanticvla/tensorrt-rtx-1.7.1.116'), { recursive: true });
  const venv = join(home, 'venv');
  mkdirSync(join(venv, 'lib/python3.12/site-packages'), { recursive: true });
  const run: PlaceOptions['run'] = (program) => {
    if (program === '/sbin/ldconfig')
      return '\tlibnvinfer.so.10 (libc6,x86-64) => /opt/nv/lib/libnvinfer.so.10\n\tlibc.so.6 (libc6) => /lib/libc.so.6\n';
    return `${join(venv, 'lib/python3.12/site-packages')}\n`;
  };
  const places = tensorRtPlaces({
    env: { HOME: home, VIRTUAL_ENV: venv, LD_LIBRARY_PATH: '/a::/b:/a' },
    root: '',
    arch: 'x64',
    run,
  });
  const folders = places.map((place) => place.folder);
  assert.equal(folders.slice(0, 3), ['/a', '/b', '/opt/nv/lib']);
  assert.is(new Set(folders).size, folders.length);
  for (const wanted of [
    '/usr/lib/x86_64-linux-gnu',
    join(home, 'TensorRT-RTX-1.6.1.120/lib'),
    join(venv, 'lib/python3.12/site-packages/tensorrt_rtx_libs'),
    join(home, '.cache/semanticvla/tensorrt-rtx-1.7.1.116/tensorrt_rtx_libs'),
  ]) {
    assert.ok(folders.includes(wanted), wanted);
  }
  assert.is(places.at(-1)?.source, 'fetched by this project');
});

find('places: those of the running processor, not of the one that is compiled for', () => {
  const home = folder();
  mkdirSync(join(home, 'TensorRT-10.15.1.29'));
  for (const [arch, own, other] of [
    ['x64', 'x86_64-linux-gnu', 'aarch64-linux-gnu'],
    ['arm64', 'aarch64-linux-gnu', 'x86_64-linux-gnu'],
  ] as const) {
    const places = tensorRtPlaces({ env: { HOME: home }, root: '', arch, run: () => null });
    const folders = places.map((place) => place.folder);
    assert.ok(folders.includes(`/usr/lib/${own}`), `${arch}: ${folders}`);
    assert.ok(folders.includes(join(home, 'TensorRT-10.15.1.29/targets', own, 'lib')), `${arch}: ${folders}`);
    assert.not.ok(
      folders.some((path) => path.includes(other)),
      `${arch}: ${folders}`,
    );
  }
});

find('a file that is no library, another TensorRT, one older than the module', () => {
  const dir = folder();
  writeFileSync(join(dir, 'libnvinfer.so.10'), 'not a library');
  throwsCode(() => findTensorRt({ path: dir }, bare()), 'TENSORRT_UNSUPPORTED', /file too short|invalid ELF/);
  const eight = fakeLibrary(join(folder(), 'libnvinfer.so.8'), [8, 6, 1, 6]);
  throwsCode(
    () => findTensorRt({ path: eight }, bare()),
    'TENSORRT_UNSUPPORTED',
    /found version 8\.6\.1\.6/,
    /TensorRT 10 or 11/,
  );
  const old = fakeLibrary(join(folder(), 'libnvinfer.so.10'), [10, 0, 1, 6]);
  assert.throws(
    () => findTensorRt({ path: old }, bare()),
    (error: unknown) =>
      error instanceof SemanticVlaError &&
      // without modules (no TensorRT headers on this machine) the missing one is named
      ((error.code === 'TENSORRT_UNSUPPORTED' &&
        /expected version 10\.3\.0\.\d+ or newer/.test(error.message)) ||
        (error.code === 'TENSORRT_MODULE_MISSING' &&
          /TENSORRT_ROOT=.* npm run build:native/.test(error.message))),
  );
});

find('the parser: missing it is said; RTX gets a folder of links with the name that it opens', () => {
  const dir = folder();
  const library = join(dir, 'libtensorrt_rtx.so.1');
  writeFileSync(library, '');
  throwsCode(
    () => findParser({ family: 'rtx1', library }),
    'TENSORRT_NOT_FOUND',
    /libtensorrt_onnxparser_rtx\.so\.1/,
  );
  writeFileSync(join(dir, 'libtensorrt_onnxparser_rtx.so.1'), '');
  const parser = findParser({ family: 'rtx1', library });
  assert.is.not(dirname(parser), dir);
  assert.is(findParser({ family: 'rtx1', library }), parser);
  const unversioned = join(dirname(parser), 'libtensorrt_rtx.so');
  assert.ok(lstatSync(unversioned).isSymbolicLink());
  assert.is(realpathSync(unversioned), realpathSync(library));
  // an SDK has this name itself: nothing is made
  symlinkSync('libtensorrt_rtx.so.1', join(dir, 'libtensorrt_rtx.so'));
  assert.is(findParser({ family: 'rtx1', library }), join(dir, 'libtensorrt_onnxparser_rtx.so.1'));
  const full = join(folder(), 'libnvinfer.so.10');
  writeFileSync(full, '');
  writeFileSync(join(dirname(full), 'libnvonnxparser.so.10'), '');
  assert.is(findParser({ family: 'trt10', library: full }), join(dirname(full), 'libnvonnxparser.so.10'));
  assert.not.ok(existsSync(join(dirname(full), 'libnvinfer.so')));
});

/** Of TensorRT 10.16.2, beside libraries of these names; `env`: LD_LIBRARY_PATH. */
function lacking(capability: number, names: readonly string[], more: readonly string[] = []): string | null {
  const place = folder();
  const library = join(place, 'libnvinfer.so.10');
  const elsewhere = folder();
  for (const name of ['libnvinfer.so.10', ...names]) writeFileSync(join(place, name), '');
  for (const name of more) writeFileSync(join(elsewhere, name), '');
  const env = { LD_LIBRARY_PATH: elsewhere };
  const found = { family: 'trt10', version: '10.16.2.10', library } as const;
  return missingBuilderResource(found, capability, { ...machineProbe, env });
}
const resource = (part: string, release = '10.16.2'): string =>
  `libnvinfer_builder_resource${part}.so.${release}`;

find('the builder’s resource: whole, or one an architecture, also where the loader looks', () => {
  assert.is(lacking(90, [resource('')]), null);
  const split = ['_ptx', '_sm75', '_sm80', '_sm86', '_sm89', '_sm90', '_sm100', '_sm110', '_sm120'].map(
    (part) => resource(part),
  );
  // 87 is Orin, and takes that of 86
  for (const capability of [75, 80, 86, 87, 89, 90, 100, 110, 120])
    assert.is(lacking(capability, split), null);
  assert.is(lacking(87, [resource('_ptx')], [resource('_sm86')]), null);
  // none at all: the loader may know of one
  assert.is(lacking(87, []), null);
});

find('the builder’s resource: what is missing, what is there instead, and the package that has it', () => {
  const onOrin = lacking(87, [resource('_ptx')])!;
  assert.match(
    onOrin,
    /expected libnvinfer_builder_resource_sm86\.so\.10\.16\.2 beside .*libnvinfer\.so\.10/,
  );
  assert.match(onOrin, /sm_87, found libnvinfer_builder_resource_ptx\.so\.10\.16\.2 alone/);
  assert.match(onOrin, /apt's libnvinfer10, pip's .* in version 10\.16\.2/);
  assert.match(lacking(87, [resource('_sm80'), resource('_sm89')])!, /found .*_sm80\S*, \S*_sm89/);
  // another version's, and the one that builds for Windows
  assert.match(lacking(90, [resource('_ptx'), resource('_sm90', '10.15.1')])!, /_ptx\.so\.10\.16\.2 alone/);
  assert.match(lacking(90, [resource('_ptx'), resource('_win_sm90')])!, /_ptx\.so\.10\.16\.2 alone/);
  const place = folder();
  for (const name of ['libnvinfer.so.11', resource('_ptx', '11.1.0')]) writeFileSync(join(place, name), '');
  const eleven = { family: 'trt11', version: '11.1.0.5', library: join(place, 'libnvinfer.so.11') } as const;
  throwsCode(
    () => requireBuilderResource(eleven, 90),
    'TENSORRT_NOT_FOUND',
    /^TensorRT 11\.1\.0\.5: expected libnvinfer_builder_resource_sm90\.so\.11\.1\.0/,
    /apt's libnvinfer11/,
  );
  assert.is(missingBuilderResource({ ...eleven, family: 'rtx1' }, 90), null);
});

find.run();
