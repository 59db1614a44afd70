/**
 * Finds the TensorRT library of this machine and our module that fits it. An explicit path decides alone, then
 * SEMANTICVLA_TENSORRT, then the places of tensorRtPlaces.ts. Two families without a choice are refused, with the list.
 */

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, realpathSync, symlinkSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { loadAddon, type NativeTensorRt, type NativeVersion } from '../addon/binding.ts';
import { modulePath } from '../addon/nativeFiles.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { makeFolderSync } from '../support/makeFolder.ts';
import { packageCommand } from '../support/packageCommand.ts';
import {
  isFolder,
  isLibrary,
  librariesIn,
  libraryNames,
  linkFolder,
  machine,
  type PlaceOptions,
  type TensorRtFamily,
  tensorRtFamilies,
  tensorRtPlaces,
} from './tensorRtPlaces.ts';

export interface FoundTensorRt {
  /** `standin`: the tests' library, which computes on the CPU; found only where it is named. */
  readonly family: TensorRtFamily | 'standin';
  /** `1.7.1.116` */
  readonly version: string;
  readonly library: string;
  /** Where it was found, in words. */
  readonly source: string;
  readonly module: string;
  /** false: the module holds no kernels; engines can be built but not run. */
  readonly hasKernels: boolean;
}

export interface FindTensorRtOptions {
  /** A library or the folder it lies in. */
  readonly path?: string;
  /** Where two families are installed: which. */
  readonly family?: TensorRtFamily;
}

/** @throws TENSORRT_NOT_FOUND, TENSORRT_AMBIGUOUS, TENSORRT_UNSUPPORTED, TENSORRT_MODULE_MISSING, ADDON_NOT_BUILT */
export function findTensorRt(
  options: FindTensorRtOptions = {},
  places: PlaceOptions = machine,
): FoundTensorRt {
  return open(locate(options, places));
}

export interface LocatedTensorRt {
  readonly library: string;
  readonly source: string;
}

/** The library, not opened yet. @throws TENSORRT_NOT_FOUND, TENSORRT_AMBIGUOUS */
export function locate(options: FindTensorRtOptions, places: PlaceOptions): LocatedTensorRt {
  if (options.path !== undefined) return named(options.path, 'the path given', options.family);
  const environment = places.env.SEMANTICVLA_TENSORRT;
  if (environment !== undefined && environment !== '')
    return named(environment, 'SEMANTICVLA_TENSORRT', options.family);
  const tried = tensorRtPlaces(places);
  const found = new Map<TensorRtFamily, LocatedTensorRt>();
  for (const { source, folder } of tried) {
    for (const { family, library } of librariesIn(folder)) {
      if (!found.has(family)) found.set(family, { library, source });
    }
  }
  return choose(found, options.family, () => tried.map(({ source, folder }) => `${folder} (${source})`));
}

/** An explicit path decides alone: nothing else is tried when it is of no use. */
function named(path: string, source: string, family: TensorRtFamily | undefined): LocatedTensorRt {
  const full = resolve(path);
  if (!isFolder(full)) {
    if (isLibrary(full)) return { library: full, source };
    throw new SemanticVlaError(
      'TENSORRT_NOT_FOUND',
      `${full} (${source}): expected a TensorRT library or its folder, found ${existsSync(full) ? 'something else' : 'nothing'} there. Correct the path, or leave it out to search this machine.`,
    );
  }
  const folders = [full, join(full, 'lib')];
  const found = new Map<TensorRtFamily, LocatedTensorRt>();
  for (const folder of folders) {
    for (const { family: one, library } of librariesIn(folder))
      if (!found.has(one)) found.set(one, { library, source });
  }
  return choose(found, family, () => folders);
}

function choose(
  found: ReadonlyMap<TensorRtFamily, LocatedTensorRt>,
  family: TensorRtFamily | undefined,
  tried: () => readonly string[],
): LocatedTensorRt {
  const candidates =
    family === undefined ? [...found.values()] : [found.get(family)].filter((one) => one !== undefined);
  if (candidates.length === 1) return candidates[0]!;
  if (candidates.length === 0) {
    const names = (family === undefined ? tensorRtFamilies : [family]).map(
      (one) => libraryNames[one].library,
    );
    throw new SemanticVlaError(
      'TENSORRT_NOT_FOUND',
      `TensorRT: expected ${names.join(' or ')} in one of the places below, found none. ${howToInstall}\nTried: ${tried().join('; ')}`,
    );
  }
  throw new SemanticVlaError(
    'TENSORRT_AMBIGUOUS',
    `TensorRT: expected one installation, found ${candidates.length}: ${candidates.map(({ library, source }) => `${library} (${source})`).join('; ')}. ` +
      'Name one with --tensorrt PATH or SEMANTICVLA_TENSORRT.',
  );
}

const howToInstall =
  'Install it: on a Jetson with "sudo apt-get install -y nvidia-jetpack"; on a PC with an RTX card, or to build engines without a GPU, with "pip install tensorrt-rtx-cu13-libs"; ' +
  'elsewhere with "pip install tensorrt-cu13-libs". Where it is installed already, name it with --tensorrt PATH or SEMANTICVLA_TENSORRT.';

/** Compiling a module needs the C++ headers, which NVIDIA's Python packages do not hold. */
function howToGetHeaders(family: FoundTensorRt['family']): string {
  return family === 'rtx1'
    ? `Get its headers with: ${packageCommand('scripts/fetchTensorRtRtx.sh')} (or name those of NVIDIA's SDK: TENSORRT_ROOT=FOLDER)`
    : "Get its headers, in the library's version, from JetPack's or NVIDIA's apt repository: sudo apt-get install -y libnvinfer-headers-dev libnvonnxparsers-dev (or name those of NVIDIA's archive: TENSORRT_ROOT=FOLDER)";
}

function open({ library, source }: LocatedTensorRt): FoundTensorRt {
  const { family, version } = inspect(library, '');
  const text = versionText(version);
  if (!isFamily(family)) {
    throw new SemanticVlaError(
      'TENSORRT_UNSUPPORTED',
      `${library} (${source}): expected TensorRT 10 or 11, or TensorRT-RTX 1, found version ${text}. Install one of those, or name another with --tensorrt PATH.`,
    );
  }
  const module = family === 'standin' ? library : modulePath(family);
  if (module === null) {
    throw new SemanticVlaError(
      'TENSORRT_MODULE_MISSING',
      `${library} (${source}): expected the module semanticvla_${family}.so for TensorRT ${text} beside the addon, found none. ${howToGetHeaders(family)}; then: ${packageCommand('npm run build:native')}.`,
    );
  }
  const { hasKernels, headers } = inspect(library, module);
  if (headers !== undefined && isOlder(version, headers)) {
    throw new SemanticVlaError(
      'TENSORRT_UNSUPPORTED',
      `${library} (${source}): expected version ${versionText(headers)} or newer, which ${module} was compiled against, found ${text}. Update TensorRT, or build the module against its headers: TENSORRT_ROOT=<folder> ${packageCommand('npm run build:native')}.`,
    );
  }
  return { family, version: text, library, source, module, hasKernels: hasKernels ?? false };
}

function inspect(library: string, module: string): NativeTensorRt {
  const addon = loadAddon();
  try {
    return addon.inspectTensorRt({ library, module });
  } catch (cause) {
    throw new SemanticVlaError(
      'TENSORRT_UNSUPPORTED',
      `${library}: expected a TensorRT library that this machine can open, found: ${(cause as Error).message}. Install one for this architecture and C library.`,
      { cause },
    );
  }
}

function isFamily(family: string): family is FoundTensorRt['family'] {
  return family === 'standin' || (tensorRtFamilies as readonly string[]).includes(family);
}

function isOlder(version: NativeVersion, than: NativeVersion): boolean {
  return version.major < than.major || (version.major === than.major && version.minor < than.minor);
}

function versionText({ major, minor, patch, build }: NativeVersion): string {
  return `${major}.${minor}.${patch}.${build}`;
}

/**
 * The ONNX parser beside the library, to be loaded only when an engine is built. TensorRT-RTX's parser opens
 * `libtensorrt_rtx.so`, without a version, from its own folder, and ends the process when it is missing, as it is where pip
 * installed it: then both are opened through a folder of links with the names that it expects.
 *
 * @throws TENSORRT_NOT_FOUND
 */
export function findParser({ family, library }: Pick<FoundTensorRt, 'family' | 'library'>): string {
  if (family === 'standin') return library;
  const { parser: name } = libraryNames[family];
  const folders = [dirname(library), dirname(realpathSync(library))];
  const parser = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (parser === undefined) {
    throw new SemanticVlaError(
      'TENSORRT_NOT_FOUND',
      `${library}: expected its ONNX parser ${name} in the same folder, found none. Building needs it: install ${family === 'rtx1' ? 'the whole package' : 'libnvonnxparsers, or the whole package,'} of this version.`,
    );
  }
  return family === 'rtx1' ? throughLinks(library, parser) : parser;
}

function throughLinks(library: string, parser: string): string {
  const unversioned = 'libtensorrt_rtx.so';
  const beside = join(dirname(parser), unversioned);
  if (existsSync(beside) && realpathSync(beside) === realpathSync(library)) return parser;
  const targets = new Map([
    [unversioned, library],
    [basename(libraryNames.rtx1.library), library],
    [basename(parser), parser],
  ]);
  const key = createHash('sha256')
    .update([...targets.values()].map((path) => realpathSync(path)).join('\0'))
    .digest('hex');
  const folder = join(linkFolder(), key.slice(0, 16));
  try {
    makeFolderSync(folder);
    const present = readdirSync(folder);
    for (const [name, target] of targets)
      if (!present.includes(name)) linkOnce(realpathSync(target), join(folder, name));
  } catch (cause) {
    throw new SemanticVlaError(
      'CACHE_UNWRITABLE',
      `${folder}: expected to make links to TensorRT-RTX there, found ${(cause as Error).message}. Set SEMANTICVLA_CACHE to a folder that can be written.`,
      { cause },
    );
  }
  return join(folder, basename(parser));
}

/** Another process may make the same link at the same moment. */
function linkOnce(target: string, path: string): void {
  try {
    symlinkSync(target, path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
  }
}
