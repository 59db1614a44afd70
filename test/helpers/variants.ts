/**
 * Tiny policies with answers of the PyTorch twin (test/golden/variants/README.md), rebuilt as complete checkpoint folders in a
 * temporary folder that is removed when the process ends.
 */

import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import type { ImageFrame, Observation, PolicyOptions, StageTensor } from '../../lib/types.ts';
import { expandShards, isSparseShard, readRawShard } from './sparseShards.ts';

const goldenFolder = fileURLToPath(new URL('../golden/', import.meta.url));
const variantsFolder = join(goldenFolder, 'variants');

type Tower = 'dinov2' | 'siglip';

export interface VariantSample {
  readonly instruction: string;
  /** By camera: a file below test/golden and, in a safetensors file, the tensor; 224x224 before the crop. */
  readonly frames: Readonly<Record<string, { readonly file: string; readonly tensor?: string }>>;
  readonly state: readonly number[] | null;
  /** Whether stages.safetensors is this sample's. */
  readonly stages: boolean;
  readonly prompt_ids: readonly number[];
  readonly siglip_ids: readonly number[] | null;
  /** By tower with a sampler: one ascending list a camera. */
  readonly kept_patches: Readonly<Partial<Record<Tower, readonly (readonly number[])[]>>>;
  readonly kept_text: Readonly<Partial<Record<Tower, readonly (readonly number[])[]>>>;
  /** [C][A] */
  readonly normalized: readonly (readonly number[])[];
  readonly unnormalized: readonly (readonly number[])[];
}

export interface VariantCase {
  readonly case: string;
  readonly about: string;
  readonly options: Pick<PolicyOptions, 'head'> &
    Required<Pick<PolicyOptions, 'cameras' | 'proprio' | 'centerCrop' | 'chunk' | 'normalization'>>;
  readonly unnorm_key: string;
  readonly action_dim: number;
  /** Folder of the SigLIP tokenizer inside the checkpoint; null without a sampler. */
  readonly text_folder: string | null;
  readonly samples: readonly VariantSample[];
  /** No selection (top-k, argmax) is closer to a tie than this; null if the policy selects nothing. */
  readonly min_gap: number | null;
  readonly fp32_vs_fp64_max_abs_normalized: number;
  readonly sensitivity: Readonly<Record<string, number>>;
}

export interface Variant {
  readonly case: VariantCase;
  /** The rebuilt checkpoint folder, in the trained layout. */
  readonly checkpoint: string;
  /** Stages of the sample with `stages: true`. */
  readonly stagesFile: string;
}

export const variantNames: readonly string[] = readdirSync(variantsFolder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name)
  .sort();

const built = new Map<string, Variant>();
const temporary: string[] = [];

function removeTemporary(): void {
  for (const folder of temporary) rmSync(folder, { recursive: true, force: true });
}

/** Rebuilds a variant, once per process. */
export function variant(name: string): Variant {
  let result = built.get(name);
  if (result === undefined) {
    result = build(join(variantsFolder, name));
    built.set(name, result);
  }
  return result;
}

/** The sample's frames and state, as a caller would pass them. */
export async function variantObservation(sample: VariantSample): Promise<Observation> {
  const images: Record<string, ImageFrame> = {};
  for (const [camera, { file, tensor }] of Object.entries(sample.frames)) {
    images[camera] = await readFrame(join(goldenFolder, file), tensor);
  }
  return sample.state === null ? { images } : { images, state: sample.state };
}

/** Stages of the sample with `stages: true`, in the twin's types: float32, int32 (ids, indices) and uint8 (frames). */
export function variantStages(file: string): Map<string, StageTensor> {
  const kinds = { F32: Float32Array, I32: Int32Array, U8: Uint8Array } as const;
  return new Map(
    [...readRawShard(file).tensors].map(([name, { dtype, shape, bytes }]) => {
      const kind = dtype as keyof typeof kinds;
      return [name, { dtype: kind, shape, data: new kinds[kind](bytes.buffer as ArrayBuffer) }];
    }),
  );
}

async function readFrame(file: string, tensor: string | undefined): Promise<ImageFrame> {
  if (tensor === undefined) {
    const { data, info } = await sharp(file).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    return { data: new Uint8Array(data), width: info.width, height: info.height };
  }
  const found = readRawShard(file).tensors.get(tensor)!;
  return { data: found.bytes, width: found.shape[1]!, height: found.shape[0]! };
}

function build(folder: string): Variant {
  const content = JSON.parse(readFileSync(join(folder, 'case.json'), 'utf8')) as VariantCase;
  const checkpoint = mkdtempSync(join(tmpdir(), `semanticvla-${basename(folder)}-`));
  if (temporary.length === 0) process.once('exit', removeTemporary);
  temporary.push(checkpoint);
  const parts = join(folder, 'checkpoint');
  cpSync(parts, checkpoint, { recursive: true, filter: (file) => !isSparseShard(file) });
  copyTokenizers(checkpoint, content.text_folder);

  const weightMap: Record<string, string> = {};
  let total = 0;
  for (const [shard, tensors] of expandShards(parts, checkpoint)) {
    for (const [name, tensor] of tensors) {
      weightMap[name] = shard;
      total += tensor.bytes.length;
    }
  }
  const index = { metadata: { total_size: total }, weight_map: weightMap };
  writeFileSync(join(checkpoint, 'model.safetensors.index.json'), JSON.stringify(index));
  return { case: content, checkpoint, stagesFile: join(folder, 'stages.safetensors') };
}

function copyTokenizers(checkpoint: string, textFolder: string | null): void {
  const source = join(goldenFolder, 'libero-tiny', 'checkpoint');
  for (const file of [
    'tokenizer.json',
    'tokenizer.model',
    'tokenizer_config.json',
    'special_tokens_map.json',
  ]) {
    cpSync(join(source, file), join(checkpoint, file));
  }
  if (textFolder === null) return;
  mkdirSync(join(checkpoint, textFolder), { recursive: true });
  for (const file of ['spiece.model', 'tokenizer_config.json', 'special_tokens_map.json']) {
    cpSync(join(source, 'siglip-text-tiny', file), join(checkpoint, textFolder, file));
  }
}
