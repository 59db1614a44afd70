/** TensorRT, the module that fits it, and the engine cache: one line for each state, with the command that comes next. */

import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { addonCommand } from '../addon/noAddon.ts';
import { type FoundTensorRt, findTensorRt } from '../engine/findTensorRt.ts';
import { type ErrorCode, SemanticVlaError } from '../support/errors.ts';
import { packageCommand } from '../support/packageCommand.ts';
import type { Check } from './check.ts';

/** What the search for TensorRT ended with. */
export type TensorRtState =
  | { readonly found: FoundTensorRt }
  | { readonly code: ErrorCode; readonly message: string };

export function tensorRtState(): TensorRtState {
  try {
    return { found: findTensorRt() };
  } catch (error) {
    if (error instanceof SemanticVlaError) return { code: error.code, message: error.message };
    throw error;
  }
}

const build = packageCommand('npm run build:native');

/** What to do about each way of not finding one. */
function installation(code: ErrorCode, isJetson: boolean): string | null {
  switch (code) {
    case 'TENSORRT_AMBIGUOUS':
      return 'export SEMANTICVLA_TENSORRT=PATH   # the one to use';
    case 'ADDON_NOT_BUILT':
      return addonCommand();
    default:
      return isJetson ? 'sudo apt-get install -y nvidia-jetpack' : 'pip install tensorrt-rtx-cu13-libs';
  }
}

/**
 * `TensorRT` and `TensorRT module`. `hasCard`: without a GPU nothing is to be installed.
 *
 * @param lacks what its builder misses to build for the card (builderResource.ts); null: nothing
 */
export function checkTensorRt(
  state: TensorRtState,
  hasCard: boolean,
  isJetson: boolean,
  lacks: string | null = null,
): Check[] {
  const absent = (name: string, found: string, fix: string | null): Check => ({
    name,
    status: 'absent',
    found,
    fix: hasCard ? fix : null,
  });
  const ok = (name: string, found: string): Check => ({ name, status: 'ok', found, fix: null });
  if ('found' in state) {
    const { family, version, library, source, module, hasKernels } = state.found;
    if (family === 'standin') {
      const found = `${library} (${source}) is its stand-in for tests, which computes on the CPU`;
      return [
        { name: 'TensorRT', status: 'absent', found, fix: 'unset SEMANTICVLA_TENSORRT' },
        absent('TensorRT module', 'not looked for without TensorRT', build),
      ];
    }
    const name = family === 'rtx1' ? 'TensorRT-RTX ' : '';
    return [
      lacks === null
        ? ok('TensorRT', `${name}${version}, ${library} (${source})`)
        : absent(
            'TensorRT',
            `${version} builds no engine: ${lacks}`,
            `sudo apt-get install -y --reinstall libnvinfer${version.split('.', 1)[0]}   # where apt installed it`,
          ),
      hasKernels
        ? ok('TensorRT module', `${module}, with kernels`)
        : absent(
            'TensorRT module',
            `${module} was compiled without nvcc: it builds engines and runs none`,
            // A Jetson's own CUDA fits its driver; the one that is fetched is newer than JetPack 6 runs.
            isJetson
              ? `sudo apt-get install -y nvidia-jetpack && ${build}`
              : packageCommand('scripts/fetchNvcc.sh && npm run build:native'),
          ),
    ];
  }
  const [reason] = state.message.split('\n', 1) as [string];
  if (state.code === 'TENSORRT_MODULE_MISSING')
    return [
      ok('TensorRT', 'found'),
      absent(
        'TensorRT module',
        reason,
        reason.includes('semanticvla_rtx1.so')
          ? packageCommand('scripts/fetchTensorRtRtx.sh && npm run build:native')
          : isJetson
            ? `sudo apt-get install -y nvidia-jetpack && ${build}`
            : `sudo apt-get install -y libnvinfer-headers-dev libnvonnxparsers-dev && ${build}`,
      ),
    ];
  return [
    absent('TensorRT', reason, installation(state.code, isJetson)),
    absent('TensorRT module', 'not looked for without TensorRT', build),
  ];
}

/** Plans in the cache, or why it will be refused. `folder` is that of merged weights. */
export function checkEngineCache(folder: string): Check {
  const engines = join(folder, 'engines');
  const name = 'engine cache';
  let mode: number;
  let owner: number;
  try {
    ({ mode, uid: owner } = lstatSync(engines));
  } catch {
    return { name, status: 'ok', found: 'empty; engines are built when they are first needed', fix: null };
  }
  if ((mode & 0o002) !== 0) {
    const found = `${engines} can be written by everybody; engines in it are refused`;
    return { name, status: 'missing', found, fix: `chmod o-w ${engines}` };
  }
  const user = process.getuid?.() ?? owner;
  if (owner !== user && owner !== 0) {
    const found = `${engines} belongs to user ${owner}; engines in it are refused`;
    return { name, status: 'missing', found, fix: 'export SEMANTICVLA_CACHE=FOLDER   # one of your own' };
  }
  try {
    const plans = readdirSync(engines).filter((file) => file.endsWith('.plan')).length;
    return { name, status: 'ok', found: `${plans} plans in ${engines}`, fix: null };
  } catch (error) {
    const found = `${engines} cannot be read: ${(error as Error).message}`;
    return {
      name,
      status: 'missing',
      found,
      fix: 'export SEMANTICVLA_CACHE=FOLDER   # one that you may read',
    };
  }
}
