/**
 * The bill of materials of a release, CycloneDX: npm's own list of what `semanticvla` brings, in the versions of the lock file, and
 * what the prebuilt packages contain. The same release gives the same bytes.
 */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Compiled, Processor } from './compile.ts';
import { run } from './run.ts';

interface Component {
  readonly 'bom-ref': string;
  readonly type: 'library' | 'file';
  readonly name: string;
  readonly version?: string;
  readonly purl?: string;
  readonly scope?: 'optional' | 'required';
  readonly licenses?: readonly (
    | { readonly license: { readonly id: string } }
    | { readonly expression: string }
  )[];
  readonly hashes?: readonly { readonly alg: 'SHA-256'; readonly content: string }[];
  readonly components?: readonly Component[];
}

interface Bom {
  serialNumber: string;
  readonly metadata: { timestamp: string; component: { name: string; 'bom-ref': string } };
  readonly components: Component[];
  readonly dependencies: { readonly ref: string; dependsOn: string[] }[];
}

export interface PrebuiltContents {
  readonly processor: Processor;
  /** The package as it was packed, and its tarball. */
  readonly folder: string;
  readonly tarball: string;
  readonly compiled: Compiled;
}

const hashesOf = (file: string): NonNullable<Component['hashes']> => [
  { alg: 'SHA-256', content: createHash('sha256').update(readFileSync(file)).digest('hex') },
];

function describePrebuilt({ processor, folder, tarball, compiled }: PrebuiltContents): Component {
  const { name, version, license, semanticvla } = JSON.parse(
    readFileSync(join(folder, 'package.json'), 'utf8'),
  ) as {
    name: string;
    version: string;
    license: string;
    semanticvla: { onnxRuntime: string };
  };
  const ref = `${name}@${version}`;
  const library = 'libonnxruntime.so.1';
  const files = readdirSync(folder).filter((file) => /\.(node|so)$/.test(file));
  const { cudaRuntime } = compiled;
  return {
    'bom-ref': ref,
    type: 'library',
    name,
    version,
    scope: 'optional',
    purl: `pkg:npm/${encodeURIComponent(name).replace('%2F', '/')}@${version}`,
    licenses: [{ expression: license }],
    hashes: hashesOf(tarball),
    components: [
      ...files.map(
        (file): Component => ({
          'bom-ref': `${ref}/${file}`,
          type: 'file',
          name: file,
          hashes: hashesOf(join(folder, file)),
        }),
      ),
      {
        'bom-ref': `${ref}/${library}`,
        type: 'library',
        name: 'onnxruntime',
        version: semanticvla.onnxRuntime,
        purl: `pkg:npm/onnxruntime-node@${semanticvla.onnxRuntime}#bin/napi-v6/linux/${processor}/${library}`,
        licenses: [{ license: { id: 'MIT' } }],
        hashes: hashesOf(join(folder, library)),
      },
      ...(cudaRuntime === null
        ? []
        : [
            {
              'bom-ref': `${ref}/libcudart_static`,
              type: 'library' as const,
              name: 'nvidia-cuda-runtime',
              version: cudaRuntime.version,
              purl: `pkg:pypi/nvidia-cuda-runtime@${cudaRuntime.version}`,
              licenses: [{ expression: 'LicenseRef-NVIDIA-CUDA' }],
            },
          ]),
    ],
  };
}

/** A name for these bytes in the form of a UUID (version 8: of one's own making). */
function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  const variant = (8 + (Number.parseInt(hex[16]!, 16) & 3)).toString(16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
}

/**
 * @param source a copy of the repository with its package.json and package-lock.json
 * @param seconds since 1970, of the sources
 */
export function billOfMaterials(
  source: string,
  prebuilt: readonly PrebuiltContents[],
  seconds: number,
): string {
  const list = [
    'sbom',
    '--sbom-format',
    'cyclonedx',
    '--package-lock-only',
    '--omit',
    'dev',
    '--omit',
    'peer',
  ];
  const bom = JSON.parse(run('npm', list, { cwd: source })) as Bom;
  const main = bom.metadata.component;
  main.name = 'semanticvla';
  const described = prebuilt.map(describePrebuilt);
  bom.components.push(...described);
  const edges = bom.dependencies.find(({ ref }) => ref === main['bom-ref'])!;
  edges.dependsOn = [...edges.dependsOn, ...described.map((component) => component['bom-ref'])];
  bom.dependencies.push(...described.map((component) => ({ ref: component['bom-ref'], dependsOn: [] })));
  bom.metadata.timestamp = new Date(seconds * 1000).toISOString();
  bom.serialNumber = '';
  bom.serialNumber = `urn:uuid:${uuidOf(JSON.stringify(bom))}`;
  return `${JSON.stringify(bom, null, 2)}\n`;
}
