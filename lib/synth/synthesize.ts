/**
 * Random-weight checkpoints in the layout that training leaves on disk (docs/model.md, Checkpoint on disk), so that people
 * without weights can measure latency. Everything is streamed: memory does not grow with the model.
 *
 * Not written, since nothing reads them: the weights of the SigLIP text folder (superseded by the vision archive) and
 * `lora_adapter/adapter_model.safetensors` (already merged). Added to the real layout: `synth.json`, which states that the
 * weights are random.
 */

import { mkdir, readdir, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Progress } from '../checkpoint/checkpoint.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import { makeFolder } from '../support/makeFolder.ts';
import {
  adapterConfigJson,
  datasetStatisticsJson,
  policyConfigJson,
  preprocessorJson,
  siglipTextConfigJson,
} from './configFiles.ts';
import { BufferPool, type FileSinkOptions } from './fileSink.ts';
import { resolveSpec, type SynthOverrides } from './overrides.ts';
import { type PolicyPlan, planPolicy } from './policyPlan.ts';
import { type SynthPreset, type SynthSpec, synthPresets } from './presets.ts';
import { NormalTables, randomKey } from './random.ts';
import { planShards, shardIndex, writeSafetensors } from './safetensorsWriter.ts';
import { elementCount, type PlannedTensor, tensorFiller, totalBytes } from './tensorPlan.ts';
import { jsonFile, llamaTokenizerFiles, type SmallFile, siglipTokenizerFiles } from './tokenizerFiles.ts';
import { writeTorchArchive } from './torchArchiveWriter.ts';

/** Seed, sizes, and callbacks for long work. */
export interface SynthOptions {
  /** 32-bit integer; equal seeds and sizes give equal bytes. Default 0. */
  readonly seed?: number;
  readonly overrides?: SynthOverrides;
  /** Called while it lasts; must return quickly. */
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
  /** Largest number of data bytes in a shard; default: that of the preset. */
  readonly maxShardBytes?: number;
  /** Bytes made and written at a time, a multiple of 64; default 8 MiB. Has no effect on the result. */
  readonly chunkBytes?: number;
}

/** What was written. */
export interface SynthReport {
  /** Absolute folder. */
  readonly dir: string;
  readonly spec: SynthSpec;
  readonly seed: number;
  /** Number of values in the weight files, including decoys and LoRA factors. */
  readonly parameters: number;
  readonly bytes: number;
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
  readonly milliseconds: number;
}

/** Space for headers, tokenizers and file-system blocks in addition to the weights. */
const spareBytes = 16 << 20;

/**
 * Writes the checkpoint into `outDir`, which must be absent or empty. All files are made in a folder beside it, which is
 * renamed when complete and removed otherwise, so `outDir` never contains half a checkpoint.
 *
 * @param preset whose sizes are taken, each of which `options.overrides` may change
 * @param outDir absent or empty
 * @param options seed, sizes, progress
 * @throws (rejects) the signal's reason; OPTION_UNKNOWN or OPTION_INVALID (preset, sizes, seed), OUTPUT_UNWRITABLE (a folder that
 *   is not empty, a failed write), OUTPUT_NO_SPACE (before anything is written, if statfs reports too little space)
 */
export async function synthesizeCheckpoint(
  preset: SynthPreset | SynthSpec,
  outDir: string,
  options: SynthOptions = {},
): Promise<SynthReport> {
  const started = performance.now();
  const { seed = 0, signal } = options;
  if (!Number.isSafeInteger(seed) || seed < 0 || seed > 0xffffffff)
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `synth seed: expected an integer from 0 to 4294967295, found ${seed}. Pass another.`,
    );
  const spec = resolveSpec(typeof preset === 'string' ? presetSpec(preset) : preset, options.overrides);
  const dir = resolve(outDir);
  const plan = planPolicy(spec);
  const tensors = allTensors(plan);
  const weightBytes = totalBytes(tensors);
  signal?.throwIfAborted();
  await refuseNonEmpty(dir);
  await makeFolder(dirname(dir)).catch((cause) => unwritable(dirname(dir), cause));
  await refuseFullDisk(dirname(dir), weightBytes + spareBytes);

  const partial = `${dir}.partial-${process.pid}`;
  await mkdir(partial).catch((cause) => unwritable(partial, cause));
  try {
    const files = await writeFiles(partial, spec, plan, { ...options, seed, weightBytes });
    signal?.throwIfAborted();
    await rename(partial, dir).catch((cause) => unwritable(dir, cause));
    return {
      dir,
      spec,
      seed,
      parameters: tensors.reduce((sum, tensor) => sum + elementCount(tensor), 0),
      bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
      files,
      milliseconds: performance.now() - started,
    };
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
}

function presetSpec(preset: string): SynthSpec {
  if (Object.hasOwn(synthPresets, preset)) return synthPresets[preset as SynthPreset];
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `synth: expected a preset among ${Object.keys(synthPresets).join(', ')}, found "${preset}". Choose one of them.`,
  );
}

function allTensors(plan: PolicyPlan): PlannedTensor[] {
  const { shards, visionBackbone, actionHead, proprioProjector, noisyActionProjector } = plan;
  const archives = [visionBackbone, actionHead, proprioProjector, noisyActionProjector];
  return [...shards, ...archives.flatMap((tensors) => tensors ?? [])];
}

async function writeFiles(
  folder: string,
  spec: SynthSpec,
  plan: PolicyPlan,
  options: SynthOptions & { readonly seed: number; readonly weightBytes: number },
): Promise<{ path: string; bytes: number }[]> {
  const { seed, signal } = options;
  const tell = isolated('onProgress', options.onProgress);
  const files: { path: string; bytes: number }[] = [];
  const pool = new BufferPool(options.chunkBytes);
  const tables = new NormalTables();
  let done = 0;
  const sinkOptions = (step: string): FileSinkOptions => ({
    signal,
    onBytes: (bytes) => {
      // Headers come on top of the weights; cap the count so that it ends exactly at the total.
      done = Math.min(done + bytes, options.weightBytes);
      tell({ step, done, total: options.weightBytes, unit: 'bytes' });
    },
  });
  const filler = (label: string) => (tensor: PlannedTensor) =>
    tensorFiller(tensor, randomKey(seed, `${label}:${tensor.name}`), tables);

  const shards = planShards(plan.shards, options.maxShardBytes ?? spec.shardBytes);
  const small = smallFiles(spec, seed, shardIndex(shards));
  for (const { path, bytes } of small) {
    await makeFolder(dirname(join(folder, path)));
    await writeFile(join(folder, path), bytes).catch((cause) => unwritable(join(folder, path), cause));
    files.push({ path, bytes: bytes.length });
  }
  const archives = [
    ['action_head', plan.actionHead],
    ['proprio_projector', plan.proprioProjector],
    ['noisy_action_projector', plan.noisyActionProjector],
    ['vision_backbone', plan.visionBackbone],
  ] as const;
  for (const [name, tensors] of archives) {
    if (tensors === null) continue;
    const path = `${name}--${spec.step}_checkpoint.pt`;
    const bytes = await writeTorchArchive(join(folder, path), tensors, filler(name), pool, sinkOptions(path));
    files.push({ path, bytes });
  }
  for (const shard of shards) {
    const bytes = await writeSafetensors(folder, shard, filler('shards'), pool, sinkOptions(shard.file));
    files.push({ path: shard.file, bytes });
  }
  return files;
}

function smallFiles(spec: SynthSpec, seed: number, index: object): SmallFile[] {
  const { pruning } = spec;
  return [
    jsonFile('synth.json', { note: 'random weights, made by semanticvla synth', seed, spec }),
    jsonFile('config.json', policyConfigJson(spec, seed)),
    jsonFile('dataset_statistics.json', datasetStatisticsJson(spec, seed)),
    jsonFile('preprocessor_config.json', preprocessorJson(spec)),
    jsonFile('lora_adapter/adapter_config.json', adapterConfigJson(spec)),
    jsonFile('model.safetensors.index.json', index),
    ...llamaTokenizerFiles(spec),
    ...(pruning === null
      ? []
      : [
          jsonFile(`${pruning.text.folder}/config.json`, siglipTextConfigJson(pruning.text)),
          ...siglipTokenizerFiles(pruning.text.folder, pruning.text.positions),
        ]),
  ];
}

async function refuseNonEmpty(dir: string): Promise<void> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    return unwritable(dir, error);
  });
  if (names.length > 0)
    throw new SemanticVlaError(
      'OUTPUT_UNWRITABLE',
      `${dir}: expected a new or empty folder, found ${names.length} entries (${names.slice(0, 3).join(', ')}). Choose another folder or empty it.`,
    );
}

async function refuseFullDisk(folder: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free < needed)
    throw new SemanticVlaError(
      'OUTPUT_NO_SPACE',
      `${folder}: expected ${needed} bytes free for the checkpoint, found ${free}. Free space or choose a folder on another disk.`,
    );
}

function unwritable(path: string, cause: unknown): never {
  throw new SemanticVlaError(
    'OUTPUT_UNWRITABLE',
    `${path}: cannot be written: ${cause instanceof Error ? cause.message : cause}. Check the path and its permissions.`,
    { cause },
  );
}
