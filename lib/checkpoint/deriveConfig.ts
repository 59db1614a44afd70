/** PolicyConfig of a checkpoint, from config.json and the shapes of its tensors (docs/model.md, Variants). */

import { join } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { deriveHead } from './deriveHead.ts';
import { deriveLlama } from './deriveLlama.ts';
import { deriveVit, type Tower, towerPrefix, towers } from './deriveVit.ts';
import type { PolicyFiles } from './findArchives.ts';
import { JsonFields } from './jsonFields.ts';
import type { HeadName, PolicyConfig, PolicyFamily, SamplerConfig, VitConfig } from './policyConfig.ts';
import { dinov2Prefix, siglipPrefix } from './policyTensors.ts';
import type { Preprocessor } from './preprocessor.ts';
import { readSafetensors } from './safetensors.ts';
import { requireShape, type Shapes } from './shapes.ts';
import { findSiglipText, readTextEncoder } from './siglipText.ts';
import { isJsonArray, type JsonValue } from './strictJson.ts';
import { defaultExchangePairs, towerSchedule } from './towerSchedule.ts';

/** A config.json with none of these is OpenVLA-OFT's. */
const semanticVlaKeys = [
  'featurizer_cfg',
  'fused_featurizer_cfg',
  'vision_aggregate_type',
  'num_action_tokens',
  'enable_cross_vit_interact',
  'cross_vit_target_pairs',
];
const towerKeys: Readonly<Record<Tower, string>> = {
  dinov2: 'featurizer_cfg',
  siglip: 'fused_featurizer_cfg',
};
/** Queries of SemanticVLA-Lite. */
const liteQueries = 16;

/** Files: for messages and for what their absence means. */
export interface ConfigInputs extends PolicyFiles {
  /** Absolute checkpoint folder. */
  readonly dir: string;
  /** config.json */
  readonly config: JsonFields;
  readonly preprocessor: Preprocessor;
  readonly shapes: Shapes;
  readonly siglipText: string | undefined;
  readonly statedHead: HeadName | undefined;
}

/** CONFIG_INVALID, CONFIG_UNSUPPORTED, CHECKPOINT_NOT_A_POLICY, CHECKPOINT_FILE_MISSING, TENSOR_*. */
export async function derivePolicyConfig(inputs: ConfigInputs): Promise<PolicyConfig> {
  const { config, shapes } = inputs;
  const family = familyOf(inputs);
  const llama = deriveLlama(config);
  const wrapped = family === 'semanticvla' && isWrapped(config);
  const exchange = family === 'semanticvla' && config.boolean('enable_cross_vit_interact', false);
  if (exchange && !wrapped) {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${config.file}: enable_cross_vit_interact is true, but no tower has use_reg, use_film or use_mm_sampler; the reference then ignores the exchange. Set it to false to run the policy so.`,
    );
  }
  refuseNull(config, ['vision_aggregate_type', 'num_action_tokens', 'n_action_bins', 'pad_to_multiple_of']);
  const derived = deriveHead({ ...inputs, family, llama });
  await requireVisionArchive(inputs, wrapped);
  checkImageSizes(config, inputs.preprocessor.imageSize);
  checkStrategy(config);
  const dinov2 = await tower(inputs, family, 'dinov2', exchange);
  const siglip = await tower(inputs, family, 'siglip', exchange);
  if (dinov2.patchSize !== siglip.patchSize) {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${config.file}: expected towers with patches of one size, found ${dinov2.patchSize} and ${siglip.patchSize} pixels.`,
    );
  }
  const exchangePairs = exchange ? readPairs(config, dinov2, siglip) : [];
  checkTokenCounts(config, dinov2, siglip);
  return {
    family,
    variant: variantName(family, dinov2),
    imageSize: inputs.preprocessor.imageSize,
    dinov2,
    siglip,
    exchangePairs,
    aggregation: family === 'semanticvla' ? aggregation(config) : 'concat',
    llama,
    ...derived,
    proprioDim:
      inputs.proprioProjector === null
        ? null
        : requireShape(
            shapes,
            'proprio_projector.fc1.weight',
            '[llm width, proprio]',
            2,
            inputs.proprioProjector,
          )[1]!,
  };
}

/** @throws OPTION_INVALID an autoregressive policy is stated, and config.json is SemanticVLA's */
function familyOf({ dir, config, statedHead, actionHead }: ConfigInputs): PolicyFamily {
  const own = semanticVlaKeys.find((key) => Object.hasOwn(config.value, key));
  // a head file says what it is; deriveHead compares
  const isStated = statedHead === 'autoregressive' && actionHead === null;
  if (own === undefined) return isStated ? 'openvla' : 'openvla-oft';
  if (!isStated) return 'semanticvla';
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `Option head of ${dir}: expected another one than autoregressive, since ${config.file} has ${own} and is SemanticVLA's, which never makes one token after another; found autoregressive. Copy action_head--*.pt from the training run.`,
  );
}

/** Refuses, by name, folders that hold another model. Looks at config.json only, so it can run before anything else. */
export function requirePolicy(config: JsonFields): void {
  const type = config.get('model_type');
  if (type !== 'openvla') {
    const shown = type === undefined ? 'none' : JSON.stringify(type);
    const known: Readonly<Record<string, string>> = {
      qwen2_5_vl:
        'That is Qwen2.5-VL, on which another model called SemanticVLA (with a flow head) is built; it is not the policy of arXiv 2511.10518.',
      prismatic: 'That is a Prismatic vision-language model before it was trained on robot actions.',
    };
    const hint =
      typeof type === 'string' && Object.hasOwn(known, type)
        ? known[type]
        : 'This is not a SemanticVLA or OpenVLA-OFT policy.';
    throw new SemanticVlaError(
      'CHECKPOINT_NOT_A_POLICY',
      `${config.file}: model_type: expected "openvla", found ${shown}. ${hint}`,
    );
  }
  const id = config.get('vision_backbone_id');
  // null: the reference looks at the name
  const isFused = config.get('use_fused_vision_backbone') ?? (isFusedName(id) ? true : undefined);
  if (isFused !== true) {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${config.file}: use_fused_vision_backbone: expected true (DINOv2 and SigLIP), found ${JSON.stringify(isFused ?? null)}. Policies with one vision tower (openvla-v01-7b is one) are not supported; its prompt is (option prompt).`,
    );
  }
}

/** Keys whose default stands for their absence only. */
function refuseNull(fields: JsonFields, keys: readonly string[]): void {
  for (const key of keys) {
    if (Object.hasOwn(fields.value, key) && fields.value[key] === null)
      throw fields.error(key, 'a value, or no such key (the reference fails on null)');
  }
}

function isFusedName(id: JsonValue | undefined): boolean {
  return typeof id === 'string' && id.startsWith('dinosiglip');
}

function towerConfig(config: JsonFields, tower: Tower): JsonFields {
  const key = towerKeys[tower];
  // The reference's default when the key is missing: nothing is added to the tower.
  return config.has(key) ? config.object(key) : new JsonFields(config.file, key, {}, 'CONFIG_INVALID');
}

/** The reference wraps the towers, and reads the vision archive, when any of these is on. */
function isWrapped(config: JsonFields): boolean {
  return towers.some((name) => {
    const fields = towerConfig(config, name);
    return ['use_reg', 'use_film', 'use_mm_sampler'].some((key) => fields.boolean(key, false));
  });
}

async function requireVisionArchive(inputs: ConfigInputs, wrapped: boolean): Promise<void> {
  if (inputs.visionBackbone !== null) return;
  if (!wrapped) {
    // OFT+ has the config.json of OFT; what LoRA trained tells them apart, where it was kept
    const adapter = await wrappedAdapter(inputs.dir);
    if (adapter === null) return;
    throw new SemanticVlaError(
      'CHECKPOINT_FILE_MISSING',
      `${inputs.dir}: expected one file vision_backbone--*.pt, since ${adapter} was trained with FiLM in the vision towers (OpenVLA-OFT+); found none. Copy it from the training run.`,
    );
  }
  const added =
    /^vision_backbone\.(vision_queries|.*_mm_sampler\.|cross_vit_model\.|.*\.blocks\.\d+\.scale\.)/;
  if (![...inputs.shapes.keys()].some((name) => added.test(name))) {
    throw new SemanticVlaError(
      'CHECKPOINT_FILE_MISSING',
      `${inputs.dir}: expected one file vision_backbone--*.pt (queries, FiLM, text encoder, exchange), because config.json adds them to the vision towers; found none. Copy it from the training run.`,
    );
  }
}

/** Adapter weights of towers whose blocks were wrapped, as FiLM does; null: there are none, or they were not. */
async function wrappedAdapter(dir: string): Promise<string | null> {
  const file = join(dir, 'lora_adapter', 'adapter_model.safetensors');
  // nothing else reads it, so a fault in it is no reason to refuse the policy
  const adapter = await readSafetensors(file).catch(() => null);
  const names = [...(adapter?.tensors.keys() ?? [])];
  return names.some((name) => /\.blocks\.\d+\.block\./.test(name)) ? file : null;
}

async function tower(
  inputs: ConfigInputs,
  family: PolicyFamily,
  name: Tower,
  exchange: boolean,
): Promise<VitConfig> {
  const { config, shapes } = inputs;
  const options = { exchange, imageSize: inputs.preprocessor.imageSize };
  if (family !== 'semanticvla') {
    const film = family === 'openvla-oft' && oftFilm(inputs);
    return deriveVit(config, name, shapes, { ...options, film, queries: 0, sampler: null });
  }
  const fields = towerConfig(config, name);
  const film = fields.boolean('use_film', false);
  const queries = fields.boolean('use_reg', false) ? fields.integer('num_vision_queries', 1, 4096) : 0;
  const plain = deriveVit(config, name, shapes, { ...options, film, queries, sampler: null });
  if (!fields.boolean('use_mm_sampler', false)) return plain;
  return { ...plain, sampler: await samplerConfig(inputs, fields, plain) };
}

async function samplerConfig(
  inputs: ConfigInputs,
  fields: JsonFields,
  vit: VitConfig,
): Promise<SamplerConfig> {
  refuseNull(fields, ['temp']);
  const available = vit.queries > 0 ? vit.queries : vit.patches;
  const visionTopk = fields.integer('vision_topk', 1, available);
  const folder = await findSiglipText(inputs.dir, fields, inputs.siglipText);
  const textEncoder = await readTextEncoder(folder);
  const textTopk = fields.integer('text_topk', -1024, textEncoder.positions);
  if (textTopk < 0) {
    throw fields.error(
      'text_topk',
      'at least 0; with a negative number the reference makes no pooled tokens but counts them, and takes actions from rows beside the right ones. Write 0 for no pooled tokens',
    );
  }
  return { visionTopk, textTopk, temperature: fields.positive('temp', 1), textEncoder };
}

/** OFT+ is marked by FiLM weights in both towers; in one only, something is missing. */
function oftFilm({ shapes, visionBackbone }: ConfigInputs): boolean {
  const [inDinov2, inSiglip] = [dinov2Prefix, siglipPrefix].map((prefix) =>
    shapes.has(`${prefix}.blocks.0.scale.weight`),
  );
  if (inDinov2 !== inSiglip) {
    throw new SemanticVlaError(
      'TENSOR_MISSING',
      `${visionBackbone}: expected FiLM weights (blocks.N.scale, blocks.N.shift) in both vision towers or in none, found them only in ${inDinov2 === true ? 'DINOv2' : 'SigLIP'}.`,
    );
  }
  if (visionBackbone !== null && inDinov2 !== true) {
    throw new SemanticVlaError(
      'TENSOR_MISSING',
      `${visionBackbone}: expected FiLM weights (blocks.N.scale, blocks.N.shift) in both vision towers, since OpenVLA-OFT keeps a vision archive for them alone; found none. The archive, or config.json, belongs to another policy.`,
    );
  }
  return inDinov2 === true;
}

/** The processor resizes as its own file says; a config.json that contradicts it belongs to another policy. */
function checkStrategy(config: JsonFields): void {
  const strategy = config.string('image_resize_strategy', 'resize-naive');
  if (strategy !== 'resize-naive')
    throw config.error('image_resize_strategy', '"resize-naive", as preprocessor_config.json says');
}

function checkImageSizes(config: JsonFields, imageSize: number): void {
  if (!config.has('image_sizes')) return;
  const sizes = config.numbers('image_sizes', 2);
  if (sizes[0] !== sizes[1]) {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${config.file}: image_sizes: expected the same size for both towers, found ${sizes.join(' and ')}.`,
    );
  }
  if (sizes[0] !== imageSize)
    throw config.error('image_sizes', `${imageSize}, as preprocessor_config.json says`);
}

/** `cross_vit_target_pairs` as the reference counts them (towerSchedule.ts). */
function readPairs(config: JsonFields, dinov2: VitConfig, siglip: VitConfig): (readonly [number, number])[] {
  const type = config.get('cross_vit_type');
  if (type !== undefined && type !== 'default') {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${config.file}: cross_vit_type: expected "default", found ${JSON.stringify(type)}.`,
    );
  }
  if (dinov2.patches !== siglip.patches) {
    throw new SemanticVlaError(
      'CONFIG_INVALID',
      `${config.file}: enable_cross_vit_interact: expected towers with equally many patches, which they exchange one by one, found ${dinov2.patches} and ${siglip.patches}.`,
    );
  }
  const key = 'cross_vit_target_pairs';
  const exchangePairs = config.has(key)
    ? config.array(key).map((value) => readPair(config, value))
    : [...defaultExchangePairs];
  try {
    towerSchedule({ dinov2, siglip, exchangePairs });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw config.error(
      key,
      `blocks that the towers have (${dinov2.depth} and ${siglip.depth}), counted from 0 or, negative, from the end; ${error.message}`,
    );
  }
  return exchangePairs;
}

function readPair(config: JsonFields, value: JsonValue): [number, number] {
  if (isJsonArray(value) && value.length === 2) {
    const [a, b] = value;
    if (typeof a === 'number' && typeof b === 'number' && Number.isInteger(a) && Number.isInteger(b))
      return [a, b];
  }
  throw config.error('cross_vit_target_pairs', 'a list of pairs [dinov2 block, siglip block]');
}

/** Both towers pass the same number of tokens to the fusion. */
function checkTokenCounts(config: JsonFields, dinov2: VitConfig, siglip: VitConfig): void {
  const [a, b] = [dinov2, siglip].map(
    (vit) => vit.sampler?.visionTopk ?? (vit.queries > 0 ? vit.queries : vit.patches),
  );
  if (a !== b) {
    throw new SemanticVlaError(
      'CONFIG_INVALID',
      `${config.file}: expected both towers to give the same number of tokens, found ${a} from DINOv2 (${towerPrefix.dinov2}) and ${b} from SigLIP; check num_vision_queries and vision_topk.`,
    );
  }
}

function aggregation(config: JsonFields): 'concat' | 'moe' {
  const type = config.string('vision_aggregate_type', 'concat');
  if (type !== 'concat' && type !== 'moe') {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${config.file}: vision_aggregate_type: expected "concat" or "moe", found ${JSON.stringify(type)}.`,
    );
  }
  return type;
}

function variantName(family: PolicyFamily, dinov2: VitConfig): string {
  if (family === 'openvla') return 'OpenVLA';
  if (family === 'openvla-oft') return dinov2.film ? 'OpenVLA-OFT+' : 'OpenVLA-OFT';
  return dinov2.queries === liteQueries ? 'SemanticVLA-Lite' : 'SemanticVLA';
}
