/** The folder of a prebuilt package, `@semanticvla/linux-<processor>`: what was compiled, ONNX Runtime's library, their licences. */

import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type PrebuiltFacts, prebuiltName } from '../../lib/addon/nativeFiles.ts';
import { type Compiled, type Processor, toolPrefix } from './compile.ts';
import type { Notices } from './notices.ts';
import { run } from './run.ts';

const root = join(import.meta.dirname, '../..');

export interface PrebuiltParts {
  readonly processor: Processor;
  readonly compiled: Compiled;
  readonly notices: Notices;
}

/** Of the lock file, so that a release holds what the tests ran with. */
export function onnxRuntimeVersion(): string {
  const manifest = readFileSync(join(root, 'node_modules/onnxruntime-node/package.json'), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

/** The newest symbol versions that the files ask for, `2.34` of `GLIBC_2.34`. */
function neededVersion(prefix: 'GLIBC' | 'GLIBCXX', files: readonly string[], processor: Processor): string {
  const symbols = run(`${toolPrefix(processor)}objdump`, ['-p', ...files], { cwd: root });
  const found = [...symbols.matchAll(new RegExp(`\\b${prefix}_([\\d.]+)`, 'g'))].map(
    ([, version]) => version!,
  );
  const newest = found.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
  if (newest === undefined) throw new Error(`${files.join(', ')}: expected symbols of ${prefix}, found none`);
  return newest;
}

/** Writes the package into `folder`, which has to be empty. */
export function stagePrebuilt(folder: string, { processor, compiled, notices }: PrebuiltParts): void {
  mkdirSync(folder, { recursive: true });
  const library = 'libonnxruntime.so.1';
  const own = readdirSync(compiled.folder).sort();
  for (const name of own) copyFileSync(join(compiled.folder, name), join(folder, name));
  const builds = join(root, 'node_modules/onnxruntime-node/bin');
  const build = readdirSync(builds).find((name) => name.startsWith('napi-v'))!;
  copyFileSync(join(builds, build, 'linux', processor, library), join(folder, library));

  const files = [...own, library].map((name) => join(folder, name));
  const onnxRuntime = onnxRuntimeVersion();
  const facts: PrebuiltFacts = {
    glibc: neededVersion('GLIBC', files, processor),
    glibcxx: neededVersion('GLIBCXX', files, processor),
    onnxRuntime,
    modules: compiled.modules,
    kernels: compiled.kernels,
  };
  const { version, license, engines } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  ) as Record<string, unknown>;
  const manifest = {
    name: prebuiltName(processor),
    version,
    description: `The compiled part of semanticvla for Linux on ${processor}, with ONNX Runtime ${onnxRuntime}.`,
    license:
      compiled.cudaRuntime === null ? `${license} AND MIT` : `${license} AND MIT AND LicenseRef-NVIDIA-CUDA`,
    os: ['linux'],
    cpu: [processor],
    libc: ['glibc'],
    engines,
    // Yarn without a node_modules keeps packages zipped, and a loader opens only files
    preferUnplugged: true,
    semanticvla: facts,
  };
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  write('package.json', `${JSON.stringify(manifest, null, 2)}\n`);
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  write('LICENSE-onnxruntime', notices.licence);
  write('ThirdPartyNotices-onnxruntime.txt', notices.thirdParty);
  if (compiled.cudaRuntime !== null) write('LICENSE-cuda', compiled.cudaRuntime.licence);
  write('NOTICE', notice(onnxRuntime, compiled));
  write('README.md', readme(manifest.name, facts));
}

function notice(onnxRuntime: string, { cudaRuntime }: Compiled): string {
  const cuda =
    cudaRuntime === null
      ? ''
      : `
semanticvla_*.so hold parts of NVIDIA's CUDA runtime (libcudart_static of nvidia-cuda-runtime ${cudaRuntime.version}), which NVIDIA's licence allows to
distribute (LICENSE-cuda). TensorRT is not part of this package.
`;
  return `semanticvla
Licensed under the Apache License, Version 2.0 (LICENSE).

libonnxruntime.so.1 is that of ONNX Runtime ${onnxRuntime}, unmodified, under the MIT licence (LICENSE-onnxruntime), with parts of
others (ThirdPartyNotices-onnxruntime.txt).
${cuda}`;
}

function readme(name: string, { glibc, glibcxx, onnxRuntime, modules, kernels }: PrebuiltFacts): string {
  const rows = Object.entries(modules).map(
    ([family, headers]) =>
      `| \`semanticvla_${family}.so\` | TensorRT module and plugins, headers of ${headers} |\n`,
  );
  const devices =
    kernels === null
      ? ''
      : `\nThe modules' kernels are for compute capabilities ${kernels.archs.join(', ')} and need a driver for CUDA ${kernels.cuda} or newer.\n`;
  return `# ${name}

The compiled part of \`semanticvla\`, which installs it: do not install it by itself.

| file | |
| --- | --- |
| \`semanticvla.node\` | the addon |
| \`libonnxruntime.so.1\` | ONNX Runtime ${onnxRuntime} |
${rows.join('')}
Needs glibc ${glibc} and a C++ library with GLIBCXX_${glibcxx} (Debian 12, Ubuntu 22.04, JetPack 6, or newer).
${devices}`;
}
