/** Finds the headers that the TensorRT code is compiled against; tests that need them skip without them. */

import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A folder for each version of TensorRT. */
export const headerFolder = join(root, '../shared/third_party/tensorrt-headers');

/** CUDA's, of an installation or of scripts/fetchNvcc.sh; null when there are none. */
export function cudaInclude(): string | null {
  const base =
    process.env.SEMANTICVLA_TOOLCHAINS ??
    join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'semanticvla');
  const fetched = existsSync(base)
    ? readdirSync(base)
        .filter((name) => /^nvcc-[\d.]+$/.test(name))
        .map((name) => join(base, name, 'nvidia/cu13'))
    : [];
  const roots = [process.env.CUDA_HOME, '/usr/local/cuda', ...fetched].filter((one) => one !== undefined);
  const found = roots.find((one) => existsSync(join(one, 'include/cuda_runtime_api.h')));
  return found === undefined ? null : join(found, 'include');
}

export const missingHeaders =
  "CUDA's headers (scripts/fetchNvcc.sh) or those of TensorRT 10.3, 10.15, 11.1 and RTX 1.6, which developers keep beside the project, are not there";
