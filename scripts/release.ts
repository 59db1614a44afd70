/**
 * Makes what is published: `semanticvla` and a prebuilt package for each processor, as tarballs of npm, with a bill of materials
 * (CycloneDX) and SHA256SUMS. From the tracked files as they are, in a folder of their own; the same sources, tools and commit date
 * give the same bytes.
 *
 *   node --import tsx scripts/release.ts                     all, into release/: some minutes a processor, most of it nvcc
 *   ... --out FOLDER                                         elsewhere; has to be empty or an earlier release
 *   ... --processors x64                                     of x64 and arm64; arm64 by the cross compiler (scripts/arm64.sh --fetch)
 *   ... --archs 87,110                                       compute capabilities of the kernels (default: all)
 *   ... --no-tensorrt                                        the addon and ONNX Runtime alone
 *   ... --again                                              makes it a second time from the start, and compares every byte
 *
 * Needs scripts/fetchNvcc.sh and TensorRT's headers (TENSORRT_ROOT, or ../shared and scripts/fetchTensorRtRtx.sh), cmake, binutils, and
 * PyPI for ONNX Runtime's notices. Publishes nothing; scripts/tryRelease.ts tries what is there. Exit codes: 0 made, 1 failed, 2 usage.
 */

import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { prebuiltProcessors } from '../lib/addon/nativeFiles.ts';
import { billOfMaterials, type PrebuiltContents } from './release/billOfMaterials.ts';
import { type CompileOptions, compile, type Processor } from './release/compile.ts';
import { publishedManifest } from './release/mainPackage.ts';
import { onnxRuntimeNotices } from './release/notices.ts';
import { onnxRuntimeVersion, stagePrebuilt } from './release/prebuiltPackage.ts';
import { run } from './release/run.ts';

const root = join(import.meta.dirname, '..');

/** The same for each release: nvcc names symbols after the folder that it compiles in. */
const work = '/tmp/semanticvla-release';

interface ReleaseOptions extends CompileOptions {
  readonly processors: readonly Processor[];
}

/** The tracked files, with the packages of this checkout. */
function copySources(to: string): void {
  mkdirSync(to, { recursive: true });
  run('sh', ['-c', 'git ls-files -z | xargs -0 tar -cf - | tar -xf - -C "$0"', to], { cwd: root });
  symlinkSync(join(root, 'node_modules'), join(to, 'node_modules'));
}

/** The tarball that npm makes of a folder. */
function pack(folder: string, out: string): string {
  const told = run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', out], { cwd: folder });
  const [{ filename }] = JSON.parse(told) as [{ filename: string }];
  return join(out, filename);
}

/** Of the commit, or as the builder says (reproducible-builds.org). */
function sourceDate(): number {
  return Number(process.env.SOURCE_DATE_EPOCH ?? run('git', ['log', '-1', '--format=%ct'], { cwd: root }));
}

function makeRelease(out: string, { processors, ...how }: ReleaseOptions): void {
  try {
    mkdirSync(work);
  } catch (cause) {
    throw new Error(
      `${work}: expected not to be there, found a release that is being made or was interrupted. When none runs: rm -r ${work}`,
      {
        cause,
      },
    );
  }
  try {
    const source = join(work, 'semanticvla');
    copySources(source);
    const notices = onnxRuntimeNotices(onnxRuntimeVersion());
    const prebuilt = processors.map((processor): PrebuiltContents => {
      console.error(`Compiling for ${processor}`);
      const compiled = compile(source, join(work, `build-${processor}`), processor, how);
      const folder = join(work, `package-${processor}`);
      stagePrebuilt(folder, { processor, compiled, notices });
      return { processor, folder, compiled, tarball: pack(folder, out) };
    });
    run(join(root, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json'], { cwd: source });
    const bom = billOfMaterials(source, prebuilt, sourceDate());
    const manifest = join(source, 'package.json');
    const published = publishedManifest(JSON.parse(readFileSync(manifest, 'utf8')), processors);
    writeFileSync(manifest, `${JSON.stringify(published, null, 2)}\n`);
    pack(source, out);
    writeFileSync(join(out, `semanticvla-${published.version}.cdx.json`), bom);
    writeFileSync(join(out, 'SHA256SUMS'), digests(out));
  } finally {
    rmSync(work, { recursive: true });
  }
}

const isOfRelease = (name: string): boolean => /^semanticvla-.*\.(tgz|cdx\.json)$|^SHA256SUMS$/.test(name);

/** As sha256sum prints them and `sha256sum -c` reads them. */
function digests(folder: string): string {
  const names = readdirSync(folder).filter((name) => isOfRelease(name) && name !== 'SHA256SUMS');
  return names
    .sort()
    .map(
      (name) =>
        `${createHash('sha256')
          .update(readFileSync(join(folder, name)))
          .digest('hex')}  ${name}\n`,
    )
    .join('');
}

function emptied(folder: string): string {
  mkdirSync(folder, { recursive: true });
  const strangers = readdirSync(folder).filter((name) => !isOfRelease(name));
  if (strangers.length > 0)
    throw new Error(`${folder}: expected an earlier release or nothing, found ${strangers[0]}`);
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
  return folder;
}

function main(): number {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: join(root, 'release') },
      processors: { type: 'string', default: prebuiltProcessors.join(',') },
      archs: { type: 'string', default: '' },
      'no-tensorrt': { type: 'boolean', default: false },
      again: { type: 'boolean', default: false },
    },
  });
  const processors = prebuiltProcessors.filter((name) => values.processors.split(',').includes(name));
  if (processors.join() !== values.processors.split(',').join()) {
    console.error(
      `--processors: expected ${prebuiltProcessors.join(',')} or one of them, found ${values.processors}`,
    );
    return 2;
  }
  const archs = values.archs.split(',').filter(Boolean).map(Number);
  const options = { processors, archs, withTensorRt: !values['no-tensorrt'] };
  const out = emptied(resolve(values.out));
  makeRelease(out, options);
  console.log(readFileSync(join(out, 'SHA256SUMS'), 'utf8').trimEnd());
  if (!values.again) return 0;
  const second = mkdtempSync(join(realpathSync(tmpdir()), 'semanticvla-release-again-'));
  try {
    makeRelease(second, options);
    const [first, again] = [digests(out), digests(second)];
    console.log(first === again ? 'made again: the same bytes' : `made again: other bytes\n${again}`);
    return first === again ? 0 : 1;
  } finally {
    rmSync(second, { recursive: true });
  }
}

process.exitCode = main();
