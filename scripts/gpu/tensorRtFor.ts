/** Which TensorRT serves a card: told before anything of a gigabyte is fetched. */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { requireBuilderResource } from '../../lib/engine/builderResource.ts';
import { type FoundTensorRt, findTensorRt } from '../../lib/engine/findTensorRt.ts';
import { findMachine, labelOf } from '../../lib/engine/openTensorRt.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { machineProbe } from '../../lib/support/machineProbe.ts';
import type { Context } from './context.ts';

/** What TensorRT-RTX 1.0 to 1.7 builds for, by its headers' enumeration and support matrices: no Hopper, no Jetson. */
const rtx: readonly number[] = [75, 80, 86, 89, 120, 121];

/** @param capability of the card (90); null: unknown */
export function servesRtx(capability: number | null): boolean {
  return capability !== null && rtx.includes(capability);
}

/** What to run for a card without TensorRT, or a sentence that says what to get. */
export function tensorRtFor(capability: number | null): { script: string } | { sentence: string } {
  if (servesRtx(capability)) return { script: 'scripts/fetchTensorRtRtx.sh' };
  if (capability === null) {
    return {
      sentence:
        'the card does not tell its compute capability (nvidia-smi --query-gpu=compute_cap): nothing is fetched; name a TensorRT with SEMANTICVLA_TENSORRT',
    };
  }
  if (capability === 87 || capability === 110) {
    return {
      sentence: `sm_${capability} is a Jetson, which TensorRT-RTX does not build for: sudo apt-get install -y nvidia-jetpack`,
    };
  }
  return {
    sentence: `sm_${capability} is none of TensorRT-RTX's (sm_${rtx.join(', ')}): get TensorRT 10.3 or newer with its builder resource for this card, from NVIDIA's apt repository (libnvinfer10, libnvonnxparsers10) or archive, and name its folder with SEMANTICVLA_TENSORRT`,
  };
}

/** `9.0` of nvidia-smi, or the model of a Jetson, as 90; null: neither tells. */
export function capabilityOf(computeCap: string | null, jetson: string | null): number | null {
  const parts = /^(\d+)\.(\d)$/m.exec(computeCap?.trim() ?? '');
  if (parts !== null) return 10 * Number(parts[1]) + Number(parts[2]);
  if (jetson === null) return null;
  return /Orin/.test(jetson) ? 87 : /Thor/.test(jetson) ? 110 : null;
}

/** Of the first card (90); null: not told. */
export function cardCapability(): number | null {
  const smi = machineProbe.run('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader']);
  return capabilityOf(smi, machineProbe.readText('/proc/device-tree/model'));
}

/**
 * TensorRT of this machine, fetched where there is none and this may be: complete, and for this card.
 *
 * @throws (rejects) what is missing, in one sentence
 */
export async function findOrFetchTensorRt({ root, prepared }: Context): Promise<Record<string, string>> {
  const capability = cardCapability();
  const found = find(root, capability, prepared);
  if (found.family === 'rtx1' && capability !== null && !servesRtx(capability)) {
    const get = tensorRtFor(capability);
    throw new Error(`found TensorRT-RTX alone, and ${'sentence' in get ? get.sentence : ''}`);
  }
  await checkDigests(join(root, 'packed.json'), dirname(found.library));
  const { device } = findMachine({});
  requireBuilderResource(found, device.capability);
  return {
    TensorRT: labelOf(found),
    device: `${device.name} (sm_${device.capability}, driver for CUDA ${device.driverVersion / 1000})`,
  };
}

function find(root: string, capability: number | null, prepared: boolean): FoundTensorRt {
  try {
    return findTensorRt();
  } catch (error) {
    if (prepared || !(error instanceof SemanticVlaError) || error.code !== 'TENSORRT_NOT_FOUND') throw error;
  }
  const get = tensorRtFor(capability);
  if ('sentence' in get) throw new Error(get.sentence);
  spawnSync(join(root, get.script), { stdio: 'inherit' });
  return findTensorRt();
}

/** Libraries that came in parts are what they were. The file lists their digests (pack.ts); absent: they did not come so. */
async function checkDigests(list: string, folder: string): Promise<void> {
  if (!existsSync(list)) return;
  const { libraries } = JSON.parse(readFileSync(list, 'utf8')) as { libraries: Record<string, string> };
  for (const [name, digest] of Object.entries(libraries)) {
    const hash = createHash('sha256');
    try {
      for await (const chunk of createReadStream(join(folder, name), { highWaterMark: 4 << 20 }))
        hash.update(chunk);
    } catch (cause) {
      throw new Error(`${name}: expected it whole, found ${(cause as Error).message}. Unpack all parts.`);
    }
    if (hash.digest('hex') !== digest)
      throw new Error(
        `${name}: expected sha256 ${digest}, found another: a part is missing. Unpack all parts.`,
      );
  }
}
