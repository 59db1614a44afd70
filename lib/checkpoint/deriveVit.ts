/** VitConfig of one tower, from config.json, the timm model's name and the shapes of the weights. */

import { SemanticVlaError } from '../support/errors.ts';
import type { JsonFields } from './jsonFields.ts';
import type { SamplerConfig, VitConfig } from './policyConfig.ts';
import { dinov2Prefix, siglipPrefix } from './policyTensors.ts';
import { requireShape, type Shapes } from './shapes.ts';
import { timmModel } from './timmModels.ts';

/** The towers in the order of every list in config.json. */
export const towers = ['dinov2', 'siglip'] as const;
export type Tower = (typeof towers)[number];
export const towerPrefix: Readonly<Record<Tower, string>> = { dinov2: dinov2Prefix, siglip: siglipPrefix };

/** timm's default for every ViT of both families. */
const layerNormEps = 1e-6;
/** Arguments of timm's VisionTransformer that may be overridden: those that weights show, and the number of heads. */
const overridable = [
  'depth',
  'embed_dim',
  'num_heads',
  'mlp_ratio',
  'patch_size',
  'img_size',
  'init_values',
  'reg_tokens',
  'class_token',
];

export interface VitOptions {
  readonly film: boolean;
  readonly queries: number;
  readonly sampler: SamplerConfig | null;
  /** Cross-ViT exchange moves the output from the second-to-last block to the last. */
  readonly exchange: boolean;
  readonly imageSize: number;
}

export function deriveVit(config: JsonFields, tower: Tower, shapes: Shapes, options: VitOptions): VitConfig {
  const index = towers.indexOf(tower);
  const prefix = towerPrefix[tower];
  const timmName = towerModel(config, tower, index);
  const model = timmModel(timmName)!;
  const override = overrideArgs(config, index);
  const depth = override?.integer('depth', 2, 200, model.depth) ?? model.depth;
  const heads = override?.integer('num_heads', 1, 256, model.heads) ?? model.heads;
  const statedWidth = override?.integer('embed_dim', 1, 65_536, model.width) ?? model.width;

  const [, positions, width] = requireShape(shapes, `${prefix}.pos_embed`, '[1, positions, width]', 3);
  const [, , patchSize] = requireShape(
    shapes,
    `${prefix}.patch_embed.proj.weight`,
    '[width, 3, patch, patch]',
    4,
  );
  const [mlpWidth] = requireShape(shapes, `${prefix}.blocks.0.mlp.fc1.weight`, '[mlp width, width]', 2);
  if (width !== statedWidth) {
    throw invalid(
      config,
      `the ${tower} weights are ${width} wide, but ${timmName}${override === null ? '' : ' with timm_override_args'} is ${statedWidth} wide; the number of heads cannot be read from weights, so config.json must say what differs`,
    );
  }
  if (width! % heads !== 0)
    throw invalid(config, `the ${tower} width ${width} is not divisible by its ${heads} heads`);

  const hasClsToken = shapes.has(`${prefix}.cls_token`);
  const registerTokens = shapes.get(`${prefix}.reg_token`)?.shape[1] ?? 0;
  const prefixTokens = registerTokens + (hasClsToken ? 1 : 0);
  const grid = Math.floor(options.imageSize / patchSize!);
  const patches = grid * grid;
  const positionsCoverPrefix = prefixTokens > 0 && positions === patches + prefixTokens;
  if (!positionsCoverPrefix && positions !== patches) {
    throw invalid(
      config,
      `the ${tower} position embedding has ${positions} positions, but an image of ${options.imageSize} pixels in patches of ${patchSize} has ${patches}; check image_sizes and preprocessor_config.json`,
    );
  }
  return {
    timmName,
    width: width!,
    depth,
    heads,
    mlpWidth: mlpWidth!,
    patchSize: patchSize!,
    patches,
    prefixTokens,
    hasClsToken,
    registerTokens,
    positionsCoverPrefix,
    hasAttentionPool: shapes.has(`${prefix}.attn_pool.latent`),
    hasLayerScale: shapes.has(`${prefix}.blocks.0.ls1.scale_factor`),
    layerNormEps,
    film: options.film,
    queries: options.queries,
    sampler: options.sampler,
    outputBlock: options.exchange ? depth - 1 : depth - 2,
  };
}

/** timm name of a tower; refuses models whose arithmetic differs, by name. */
function towerModel(config: JsonFields, tower: Tower, index: number): string {
  const names = config.has('timm_model_ids') ? config.array('timm_model_ids') : modelsByName(config);
  const name = names[index];
  if (names.length !== 2 || typeof name !== 'string') {
    throw config.error('timm_model_ids', 'two timm model names, DINOv2 then SigLIP');
  }
  if (timmModel(name)?.kind !== tower) {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${config.file}: timm_model_ids[${index}]: expected a ${tower === 'dinov2' ? 'DINOv2 (vit_*_dinov2)' : 'SigLIP (vit_*_siglip_*)'} ViT, found ${JSON.stringify(name)}.`,
    );
  }
  const activations = config.has('timm_override_act_layers') ? config.array('timm_override_act_layers') : [];
  if (activations[index] !== undefined && activations[index] !== null) {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${config.file}: timm_override_act_layers[${index}]: expected null (GELU), found ${JSON.stringify(activations[index])}. Policies on CLIP towers (quick_gelu) are not supported.`,
    );
  }
  return name;
}

/** What the reference fills in when config.json names the pair of towers alone. */
function modelsByName(config: JsonFields): readonly string[] {
  const id = config.get('vision_backbone_id');
  const size = typeof id === 'string' ? /^dinosiglip-vit-so-(224|384)px$/.exec(id)?.[1] : undefined;
  if (size === undefined) throw config.error('timm_model_ids', 'two timm model names, DINOv2 then SigLIP');
  return ['vit_large_patch14_reg4_dinov2.lvd142m', `vit_so400m_patch14_siglip_${size}`];
}

function overrideArgs(config: JsonFields, index: number): JsonFields | null {
  if (!config.has('timm_override_args')) return null;
  const list = config.array('timm_override_args');
  if (list.length !== 2) throw config.error('timm_override_args', 'two objects, DINOv2 then SigLIP');
  if (list[index] === null) return null;
  const args = config.element('timm_override_args', index);
  for (const key of Object.keys(args.value)) {
    if (!overridable.includes(key)) {
      throw new SemanticVlaError(
        'CONFIG_UNSUPPORTED',
        `${config.file}: ${args.name(key)}: expected only ${overridable.join(', ')} to be overridden.`,
      );
    }
  }
  return args;
}

function invalid(config: JsonFields, problem: string): SemanticVlaError {
  return new SemanticVlaError('CONFIG_INVALID', `${config.file}: ${problem}.`);
}
