/**
 * `npm run gpu -- --pack DIR`: what a machine without a network, Node or TensorRT needs, in parts that a transfer of limited size
 * takes, and the list of calls that use them.
 *
 *   base.tar.xz         Node, this program with the modules that it needs, the addon and programs for sm_90, golden policies
 *   tensorrt-NN.tar     slices of TensorRT's libraries, each compressed by itself, so that every part unpacks alone
 *   calls.json, .md     what to carry, the command and its time limit, call by call
 *
 * Needs what it packs: scripts/gpuTests.sh --compile-only --arch sm_90, npm run build:native -- --archs 90, and a folder with
 * TensorRT 10 for x86-64 in SEMANTICVLA_TENSORRT (README.md of this folder). Slices are compressed once and kept in the cache.
 */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { cacheFolder } from '../../lib/checkpoint/loraMerge.ts';
import { goldenNames } from '../../test/helpers/goldenCase.ts';
import { type Call, callsOf, callsText } from './calls.ts';

export interface Part {
  readonly name: string;
  readonly bytes: number;
  /** Of what it holds. */
  readonly unpackedBytes: number;
}

export interface Packed {
  readonly parts: readonly Part[];
  readonly calls: readonly Call[];
}

/** A transfer takes 64 MiB; the files of the checkout travel too (scripts/gpu/README.md keeps them below 8). */
export const partLimit = 56 * 2 ** 20;
/** Small, so that parts fill up; large enough that compression loses little. */
const sliceBytes = 48 * 2 ** 20;
/** Of xz: the one whose window holds a slice. Minutes of one core a slice, and a third fewer calls than the fast ones. */
const level = '-9';

/** TensorRT 10.x up to 10.13: library, ONNX parser, and the one builder resource for all cards. */
const libraryPattern =
  /^(libnvinfer\.so\.10|libnvonnxparser\.so\.10|libnvinfer_builder_resource\.so\.[\d.]+)$/;

export async function pack(root: string, out: string, say: (line: string) => void): Promise<Packed> {
  mkdirSync(out, { recursive: true });
  for (const name of readdirSync(out)) if (/^(base|tensorrt-)/.test(name)) rmSync(join(out, name));
  const libraries = tensorRtLibraries();
  const slices = libraries.flatMap((file) => slicesOf(file, say));
  const base = packBase(root, out, digestsOf(libraries, say));
  const parts = [base, ...fill(slices).map((some, i) => packSlices(some, out, i))];
  const calls = callsOf(parts.map(({ name }) => name));
  for (const { name, bytes, unpackedBytes } of parts) {
    say(`${name}: ${mebibytes(bytes)} MiB, ${mebibytes(unpackedBytes)} MiB unpacked`);
    if (bytes > partLimit) throw new Error(`${name}: expected at most ${mebibytes(partLimit)} MiB`);
  }
  writeFileSync(join(out, 'calls.json'), `${JSON.stringify(calls, null, 1)}\n`);
  writeFileSync(join(out, 'calls.md'), callsText(calls));
  return { parts, calls };
}

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

function tensorRtLibraries(): string[] {
  const folder = process.env.SEMANTICVLA_TENSORRT;
  if (folder === undefined || folder === '') return [];
  const names = readdirSync(folder).filter((name) => libraryPattern.test(name));
  if (names.length !== 3) {
    throw new Error(
      `${folder} (SEMANTICVLA_TENSORRT): expected libnvinfer.so.10, libnvonnxparser.so.10 and libnvinfer_builder_resource.so.10.x, found ${names.join(', ') || 'none of them'}`,
    );
  }
  return names.sort().map((name) => realpathSync(join(folder, name)));
}

interface Slice {
  /** `libnvinfer.so.10.003.xz`: the library and the number of the slice. */
  readonly name: string;
  readonly file: string;
  readonly bytes: number;
  readonly unpackedBytes: number;
}

function slicesOf(library: string, say: (line: string) => void): Slice[] {
  const kept = join(cacheFolder({}), 'gpu-parts');
  mkdirSync(kept, { recursive: true });
  const size = statSync(library).size;
  const descriptor = openSync(library, 'r');
  return Array.from({ length: Math.ceil(size / sliceBytes) }, (_, i) => {
    const data = Buffer.alloc(Math.min(sliceBytes, size - i * sliceBytes));
    readSync(descriptor, data, 0, data.byteLength, i * sliceBytes);
    const file = join(kept, `${createHash('sha256').update(data).digest('hex').slice(0, 16)}${level}.xz`);
    if (!existsSync(file)) {
      say(`compressing ${basename(library)}, slice ${i}`);
      const compressed = execFileSync('xz', [level, '-c'], { input: data, maxBuffer: 2 * sliceBytes });
      writeFileSync(`${file}.part`, compressed);
      renameSync(`${file}.part`, file);
    }
    const name = `${basename(library)}.${String(i).padStart(3, '0')}.xz`;
    return { name, file, bytes: statSync(file).size, unpackedBytes: data.byteLength };
  });
}

function digestsOf(libraries: readonly string[], say: (line: string) => void): Record<string, string> {
  if (libraries.length > 0) say('digests of the libraries');
  return Object.fromEntries(
    libraries.map((file) => [
      basename(file),
      execFileSync('sha256sum', [file], { encoding: 'utf8' }).split(' ', 1)[0]!,
    ]),
  );
}

/** First fit, the largest first. */
function fill(slices: readonly Slice[]): Slice[][] {
  const bins: Slice[][] = [];
  const bytesOf = (bin: readonly Slice[]): number => bin.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const slice of [...slices].sort((a, b) => b.bytes - a.bytes)) {
    // a megabyte for tar's own
    const bin = bins.find((one) => bytesOf(one) + slice.bytes + 2 ** 20 <= partLimit);
    if (bin === undefined) bins.push([slice]);
    else bin.push(slice);
  }
  return bins;
}

function packSlices(slices: readonly Slice[], out: string, index: number): Part {
  const name = `tensorrt-${String(index + 1).padStart(2, '0')}.tar`;
  const staging = join(out, 'staging');
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging);
  for (const slice of slices) copyFileSync(slice.file, join(staging, slice.name));
  execFileSync('tar', ['-cf', join(out, name), '-C', staging, ...slices.map((slice) => slice.name)]);
  rmSync(staging, { recursive: true });
  const unpackedBytes = slices.reduce((sum, slice) => sum + slice.unpackedBytes, 0);
  return { name, bytes: statSync(join(out, name)).size, unpackedBytes };
}

/** Of the program's own files: what the stages read. */
const tracked = [
  'lib',
  'scripts',
  'engines',
  'bench/reference',
  'test/helpers',
  'package.json',
  'tsconfig.json',
  ...goldenNames.map((name) => `test/golden/${name}`),
];
const built = [
  'build-cmake/Release/semanticvla.node',
  'build-cmake/Release/semanticvla_trt10.so',
  'build-kernels/gpu/kernelTests',
  'build-kernels/gpu/sessionHarness',
];

function packBase(root: string, out: string, libraries: Record<string, string>): Part {
  for (const file of built) {
    if (existsSync(join(root, file))) continue;
    throw new Error(
      `${file}: expected it, found none. Run: scripts/gpuTests.sh --compile-only --arch sm_90 && npm run build:native -- --archs 90`,
    );
  }
  const name = 'base.tar.xz';
  const stamp = join(out, 'packed.json');
  writeFileSync(stamp, `${JSON.stringify({ libraries }, null, 1)}\n`);
  const files = [
    ...execFileSync('git', ['ls-files', '-z', ...tracked], { cwd: root, encoding: 'utf8' }).split('\0'),
    ...built,
    ...neededModules(root),
  ]
    .filter((file) => file !== '' && existsSync(join(root, file)))
    // stage by stage: read by tests alone
    .filter((file) => !/^test\/golden\/.*\/sample_\w+\.safetensors$/.test(file));
  const list = join(out, 'files.txt');
  writeFileSync(list, files.join('\n'));
  const archive = join(out, 'base.tar');
  execFileSync('tar', ['-cf', archive, '-C', root, '-T', list]);
  execFileSync('tar', ['-rf', archive, '-C', out, 'packed.json']);
  const node = realpathSync(process.execPath);
  execFileSync('tar', ['-rf', archive, '--transform=s,^,bin/,', '-C', dirname(node), basename(node)]);
  const unpackedBytes = statSync(archive).size;
  execFileSync('xz', ['-6', '-T0', '-f', archive]);
  rmSync(list);
  rmSync(stamp);
  return { name, bytes: statSync(join(out, name)).size, unpackedBytes };
}

/** What is required at run time; of ONNX Runtime this platform's libraries alone. */
function neededModules(root: string): string[] {
  const read = (file: string) =>
    JSON.parse(readFileSync(file, 'utf8')) as Record<string, Record<string, string> | undefined>;
  const found = new Set<string>();
  const add = (name: string, from: string): void => {
    // as Node looks it up: the nearest node_modules on the way up
    for (let folder = from; ; folder = dirname(folder)) {
      const candidate = join(folder, 'node_modules', name);
      if (existsSync(join(root, candidate))) {
        if (found.has(candidate)) return;
        found.add(candidate);
        const { dependencies, optionalDependencies } = read(join(root, candidate, 'package.json'));
        for (const one of Object.keys({ ...dependencies, ...optionalDependencies })) add(one, candidate);
        return;
      }
      if (folder === '.' || folder === '') return;
    }
  };
  const required = Object.keys(read(join(root, 'package.json')).dependencies ?? {});
  // tsx runs TypeScript, sharp reads the golden policies' frames, the addon opens ONNX Runtime's library
  for (const name of [...required, 'tsx', 'sharp', 'onnxruntime-node']) add(name, '.');
  const platform = `${process.platform}/${process.arch}`;
  return [...found].flatMap((folder) =>
    (readdirSync(join(root, folder), { recursive: true }) as string[])
      .map((name) => join(folder, name))
      .filter((file) => statSync(join(root, file)).isFile())
      .filter((file) => !/\.(map|md|d\.ts|d\.mts|d\.cts)$/.test(file))
      .filter((file) => !/onnxruntime-node\/bin\//.test(file) || file.includes(`/${platform}/`))
      // of CUDA and others, which are not used
      .filter((file) => !/onnxruntime_providers_/.test(file)),
  );
}
