/**
 * The tensors of a checkpoint under their canonical names (policyTensors.ts), before the LoRA merge: from the shards, the
 * action head, the projectors of proprioception and of noisy actions, and the vision archive, which supersedes the shards for everything under
 * `vision_backbone` (docs/model.md, Checkpoint on disk).
 */

import { SemanticVlaError } from '../support/errors.ts';
import { refuseQuantizedTensors } from './quantized.ts';
import type { TensorView } from './tensorView.ts';
import type { TorchArchive } from './torchArchive.ts';
import { refusePrefix, unwrappedName } from './wrappedNames.ts';

/** A weight still split into its base and a low-rank update: `base + alpha/r * B A`. */
export interface SplitTensor {
  readonly name: string;
  /** Shape of the merged weight, which is the base's. */
  readonly shape: readonly number[];
  readonly base: TensorView;
  /** [r, in...] */
  readonly loraA: TensorView;
  /** [out, r], with trailing ones for a convolution. */
  readonly loraB: TensorView;
}

export type LogicalTensor = TensorView | SplitTensor;

export function isSplit(tensor: LogicalTensor): tensor is SplitTensor {
  return 'base' in tensor;
}

/** File that holds the tensor, or its base. */
export function fileOf(tensor: LogicalTensor): string {
  return isSplit(tensor) ? tensor.base.file : tensor.file;
}

export interface TensorFiles {
  readonly shards: ReadonlyMap<string, TensorView>;
  readonly visionBackbone: TorchArchive | null;
  readonly actionHead: TorchArchive | null;
  readonly proprioProjector: TorchArchive | null;
  readonly noisyActionProjector: TorchArchive | null;
}

const visionPrefix = 'vision_backbone.';

/** First parts of names, by the kind of file. */
const shardBegins = ['language_model', 'vision_backbone', 'projector'];
const visionBegins = ['vision_backbone', 'featurizer', 'fused_featurizer'];
const headBegins = ['action_head', 'model', 'model_trans', 'model_rot', 'model_grip', 'noise_predictor'];
const projectorBegins = ['proprio_projector', 'noisy_action_projector', 'fc1', 'fc2'];

/** A name with its part's own prefix, once. */
function below(prefix: string, name: string): string {
  return name.startsWith(prefix) ? name : prefix + name;
}

export function collectTensors(files: TensorFiles): Map<string, LogicalTensor> {
  const out = new Map<string, LogicalTensor>();
  refuseQuantizedTensors(files.shards);
  for (const [name, view] of unwrapped(files.shards, shardBegins)) {
    const isSuperseded = files.visionBackbone !== null && name.startsWith(visionPrefix);
    if (!isSuperseded) out.set(name, view);
  }
  const archives: [TorchArchive | null, readonly string[], (name: string) => string][] = [
    [files.visionBackbone, visionBegins, canonicalVisionName],
    [files.actionHead, headBegins, (name) => below('action_head.', name)],
    [files.proprioProjector, projectorBegins, (name) => below('proprio_projector.', name)],
    [files.noisyActionProjector, projectorBegins, (name) => below('noisy_action_projector.', name)],
  ];
  for (const [archive, begins, canonical] of archives) {
    if (archive === null) continue;
    const named = unwrapped(archive.tensors, begins, canonical);
    refuseQuantizedTensors(named);
    for (const [name, tensor] of joinLora(archive.file, named)) {
      if (out.has(name)) {
        throw new SemanticVlaError(
          'TENSOR_UNEXPECTED',
          `${archive.file}: tensor ${name} is also in ${fileOf(out.get(name)!)}; expected it in one place. Keep the file that was trained last.`,
        );
      }
      out.set(name, tensor);
    }
  }
  return out;
}

/** `vision_queries` -> `vision_backbone.vision_queries`; `...blocks.0.block.norm1` -> `...blocks.0.norm1`. */
function canonicalVisionName(name: string): string {
  return below(visionPrefix, name).replace(/(\.blocks\.\d+)\.block\./, '$1.');
}

/** Without the marks of wrappers, under canonical names. Two tensors must not come to mean the same. */
function unwrapped(
  tensors: ReadonlyMap<string, TensorView>,
  begins: readonly string[],
  canonical: (name: string) => string = (name) => name,
): Map<string, TensorView> {
  const out = new Map<string, TensorView>();
  let file = '';
  const plain = [...tensors].map(([key, view]) => {
    file = view.file;
    return [unwrappedName(key), view] as const;
  });
  refusePrefix(
    file,
    plain.map(([name]) => name),
    begins,
  );
  for (const [key, view] of plain) {
    const name = canonical(key);
    if (out.has(name)) {
      throw new SemanticVlaError(
        'TORCH_ARCHIVE_INVALID',
        `${view.file}: two entries of the state dict both mean ${name}. Save the state dict again.`,
      );
    }
    out.set(name, { ...view, name });
  }
  return out;
}

/** Joins `X.base_layer.weight`, `X.lora_A.default.weight`, `X.lora_B.default.weight` into one split `X.weight`. */
function joinLora(file: string, tensors: ReadonlyMap<string, TensorView>): Map<string, LogicalTensor> {
  const out = new Map<string, LogicalTensor>();
  const parts = new Map<string, { a?: TensorView; b?: TensorView }>();
  for (const [name, view] of tensors) {
    const lora = /^(.*)\.lora_([AB])\.default\.weight$/.exec(name);
    if (lora !== null) {
      const part = parts.get(lora[1]!) ?? {};
      if (lora[2] === 'A') part.a = view;
      else part.b = view;
      parts.set(lora[1]!, part);
    } else if (name.includes('.lora_')) {
      throw new SemanticVlaError(
        'LORA_INVALID',
        `${file}: expected adapters named lora_A.default and lora_B.default on weights, found ${name}. Merge other kinds of adapters (DoRA, embeddings, several adapters) before loading.`,
      );
    } else {
      out.set(name.replace('.base_layer.', '.'), { ...view, name: name.replace('.base_layer.', '.') });
    }
  }
  for (const [layer, { a, b }] of parts) {
    const base = tensors.get(`${layer}.base_layer.weight`);
    if (a === undefined || b === undefined || base === undefined) {
      const lacking = a === undefined ? 'lora_A' : b === undefined ? 'lora_B' : 'base_layer.weight';
      throw new SemanticVlaError(
        'LORA_INVALID',
        `${file}: ${layer}: expected base_layer, lora_A and lora_B, found no ${lacking}. Save the state dict again.`,
      );
    }
    const name = `${layer}.weight`;
    out.set(name, { name, shape: base.shape, base, loraA: a, loraB: b });
  }
  for (const name of tensors.keys()) {
    const layer = /^(.*)\.base_layer\.weight$/.exec(name)?.[1];
    if (layer !== undefined && !parts.has(layer)) {
      throw new SemanticVlaError(
        'LORA_INVALID',
        `${file}: ${layer}: expected base_layer, lora_A and lora_B, found only base_layer. Save the state dict again.`,
      );
    }
  }
  return out;
}
