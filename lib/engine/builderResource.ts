/**
 * What TensorRT's builder loads besides the library: one file with the kernels it chooses from. Up to 10.13 (seen: 10.3, 10.6,
 * 10.13.3) it is whole, `libnvinfer_builder_resource.so.10.13.3`; newer ones (seen: 10.15, 10.16, 11) have one an architecture,
 * `libnvinfer_builder_resource_sm86.so.10.16.2`, and a `_ptx` that does not stand in for those: on an Orin with it alone
 * 10.16.2 ends with "Unable to load library: libnvinfer_builder_resource_sm86.so.10.16.2" (OE4T/meta-tegra #2243).
 */

import { realpathSync } from 'node:fs';
import { delimiter, dirname } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { machineProbe } from '../support/machineProbe.ts';
import type { FoundTensorRt } from './findTensorRt.ts';

/** Where there is none of a device's own: whose it loads. Orin's was seen; the others are of one family, and not seen. */
const lent: Readonly<Record<number, number>> = { 87: 86, 103: 100, 121: 120 };

/** How the disk is looked at. */
export interface ResourceProbe {
  /** Names in a folder; none where it cannot be read. */
  list(folder: string): readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

type Library = Pick<FoundTensorRt, 'family' | 'version' | 'library'>;

/**
 * What is missing to build engines for a device, and in which package it is; null: nothing, or it cannot be told, since no
 * file of this kind lies where the library does (the loader may find it elsewhere) or TensorRT-RTX needs none.
 *
 * @param capability of the device (87)
 */
export function missingBuilderResource(
  { family, version, library }: Library,
  capability: number,
  probe: ResourceProbe = { ...machineProbe, env: process.env },
): string | null {
  if (family === 'rtx1') return null;
  const release = version.split('.').slice(0, 3).join('.');
  const nameOf = (part: string): string => `libnvinfer_builder_resource${part}.so.${release}`;
  const folders = new Set([
    dirname(library),
    dirname(realPath(library)),
    ...(probe.env.LD_LIBRARY_PATH ?? '').split(delimiter),
  ]);
  const present = new Set(
    [...folders]
      .filter((folder) => folder !== '')
      .flatMap((folder) => probe.list(folder))
      .filter((name) => name.startsWith('libnvinfer_builder_resource') && name.endsWith(`.so.${release}`))
      // for who builds for Windows
      .filter((name) => !name.startsWith('libnvinfer_builder_resource_win')),
  );
  if (present.size === 0 || present.has(nameOf(''))) return null;
  const own = [capability, lent[capability]].filter((arch) => arch !== undefined);
  if (own.some((arch) => present.has(nameOf(`_sm${arch}`)))) return null;
  const wanted = nameOf(`_sm${own.at(-1)}`);
  const ptx = nameOf('_ptx');
  const instead =
    present.has(ptx) && present.size === 1
      ? `${ptx} alone, which does not stand in for it`
      : [...present].sort().join(', ');
  const packages = `apt's libnvinfer${release.split('.', 1)[0]}, pip's tensorrt-cu12-libs or tensorrt-cu13-libs of NVIDIA's index, or NVIDIA's archive`;
  return `expected ${wanted} beside ${library}, which builds engines for sm_${capability}, found ${instead}. It is in ${packages}, in version ${release}; archives of redistributable parts have only the _ptx one`;
}

/** Before a build, which would take its time to say less. @throws TENSORRT_NOT_FOUND */
export function requireBuilderResource(library: Library, capability: number, probe?: ResourceProbe): void {
  const missing = missingBuilderResource(library, capability, probe);
  if (missing === null) return;
  throw new SemanticVlaError('TENSORRT_NOT_FOUND', `TensorRT ${library.version}: ${missing}.`);
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
