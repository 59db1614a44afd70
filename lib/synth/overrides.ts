/** The sizes of a preset that a caller may change one by one, and the check that the result is a valid policy. */

import { SemanticVlaError } from '../support/errors.ts';
import type { SynthSpec } from './presets.ts';
import { unigramPieceCount } from './sentencePieceModel.ts';

/** Positive integers unless stated otherwise; absent ones stay as in the preset. */
export interface SynthOverrides {
  readonly llamaLayers?: number;
  readonly llamaWidth?: number;
  readonly llamaHeads?: number;
  readonly llamaKvHeads?: number;
  readonly llamaMlp?: number;
  readonly dinov2Depth?: number;
  readonly dinov2Width?: number;
  readonly dinov2Heads?: number;
  readonly siglipDepth?: number;
  readonly siglipWidth?: number;
  readonly siglipHeads?: number;
  readonly textLayers?: number;
  readonly textWidth?: number;
  readonly textHeads?: number;
  readonly textMlp?: number;
  readonly textVocab?: number;
  /** Q, and the number of kept patches: the two are fused token by token. */
  readonly visionTokens?: number;
  /** Pooled tokens; 0: none. */
  readonly pooledTokens?: number;
  readonly imageSize?: number;
  readonly actionTokens?: number;
  readonly actionDim?: number;
  readonly proprioDim?: number;
  readonly loraRank?: number;
  readonly loraAlpha?: number;
  /** `[]`: no exchange. Absent: the preset's pairs, scaled to the depths. */
  readonly exchangePairs?: readonly (readonly [number, number])[];
}

/** The overrides that are single numbers, with their command-line flags and one line of help each. */
export const synthOverrideOptions: readonly {
  readonly key: Exclude<keyof SynthOverrides, 'exchangePairs'>;
  readonly flag: string;
  readonly description: string;
}[] = [
  { key: 'llamaLayers', flag: '--llama-layers', description: 'language model: layers' },
  { key: 'llamaWidth', flag: '--llama-width', description: 'language model: width D' },
  { key: 'llamaHeads', flag: '--llama-heads', description: 'language model: attention heads' },
  { key: 'llamaKvHeads', flag: '--llama-kv-heads', description: 'language model: key and value heads' },
  { key: 'llamaMlp', flag: '--llama-mlp', description: 'language model: MLP width' },
  { key: 'dinov2Depth', flag: '--dinov2-depth', description: 'DINOv2: blocks' },
  { key: 'dinov2Width', flag: '--dinov2-width', description: 'DINOv2: width' },
  { key: 'dinov2Heads', flag: '--dinov2-heads', description: 'DINOv2: attention heads' },
  { key: 'siglipDepth', flag: '--siglip-depth', description: 'SigLIP: blocks' },
  { key: 'siglipWidth', flag: '--siglip-width', description: 'SigLIP: width' },
  { key: 'siglipHeads', flag: '--siglip-heads', description: 'SigLIP: attention heads' },
  { key: 'textLayers', flag: '--text-layers', description: 'SigLIP text tower: layers' },
  { key: 'textWidth', flag: '--text-width', description: 'SigLIP text tower: width' },
  { key: 'textHeads', flag: '--text-heads', description: 'SigLIP text tower: attention heads' },
  { key: 'textMlp', flag: '--text-mlp', description: 'SigLIP text tower: MLP width' },
  { key: 'textVocab', flag: '--text-vocab', description: 'SigLIP text tower: rows of the embedding' },
  { key: 'visionTokens', flag: '--vision-tokens', description: 'queries and kept patches an image' },
  {
    key: 'pooledTokens',
    flag: '--pooled-tokens',
    description: 'instruction-weighted pooled tokens an image',
  },
  { key: 'imageSize', flag: '--image-size', description: 'side of the image, pixels' },
  { key: 'actionTokens', flag: '--action-tokens', description: 'action tokens a step, H' },
  { key: 'actionDim', flag: '--action-dim', description: 'action dimensions' },
  { key: 'proprioDim', flag: '--proprio-dim', description: 'joint-state dimensions' },
  { key: 'loraRank', flag: '--lora-rank', description: 'LoRA rank of the vision archive' },
  { key: 'loraAlpha', flag: '--lora-alpha', description: 'LoRA alpha' },
];

const needsPruning = [
  'textLayers',
  'textWidth',
  'textHeads',
  'textMlp',
  'textVocab',
  'visionTokens',
  'pooledTokens',
  'exchangePairs',
  'actionTokens',
];

/**
 * Applies `overrides` to `spec` and checks the result. Throws OPTION_INVALID naming the option, OPTION_UNKNOWN for a key that
 * is not an option.
 */
export function resolveSpec(spec: SynthSpec, overrides: SynthOverrides = {}): SynthSpec {
  const known = new Set<string>([...synthOverrideOptions.map(({ key }) => key), 'exchangePairs']);
  for (const [key, value] of Object.entries(overrides)) {
    if (!known.has(key))
      throw new SemanticVlaError(
        'OPTION_UNKNOWN',
        `synth: expected an override among ${[...known].join(', ')}, found "${key}". Check the spelling.`,
      );
    if (spec.pruning === null && value !== undefined && needsPruning.includes(key))
      fail(key, `a preset of the SemanticVLA family, since ${spec.family} has no such part`, spec.name);
    if (key === 'proprioDim' && value !== undefined && spec.proprioDim === 0)
      fail(key, 'a preset with proprioception', spec.name);
    if (key === 'actionTokens' && value !== undefined && spec.head === 'diffusion')
      fail(
        key,
        'a preset without a diffusion head, which has one token for each action dimension',
        spec.name,
      );
    if (key !== 'exchangePairs' && (!Number.isSafeInteger(value) || value < (key === 'pooledTokens' ? 0 : 1)))
      fail(key, key === 'pooledTokens' ? 'an integer of at least 0' : 'a positive integer', String(value));
  }
  const o = overrides;
  const { dinov2, siglip, llama, pruning } = spec;
  const heads = o.llamaHeads ?? llama.heads;
  const actionDim = o.actionDim ?? spec.actionDim;
  const isPerDimension = spec.family !== 'semanticvla' || spec.head === 'diffusion';
  const resolved: SynthSpec = {
    ...spec,
    imageSize: o.imageSize ?? spec.imageSize,
    dinov2: {
      ...dinov2,
      width: o.dinov2Width ?? dinov2.width,
      depth: o.dinov2Depth ?? dinov2.depth,
      heads: o.dinov2Heads ?? dinov2.heads,
    },
    siglip: {
      ...siglip,
      width: o.siglipWidth ?? siglip.width,
      depth: o.siglipDepth ?? siglip.depth,
      heads: o.siglipHeads ?? siglip.heads,
    },
    llama: {
      ...llama,
      width: o.llamaWidth ?? llama.width,
      layers: o.llamaLayers ?? llama.layers,
      heads,
      kvHeads: o.llamaKvHeads ?? (llama.kvHeads === llama.heads ? heads : llama.kvHeads),
      mlpWidth: o.llamaMlp ?? llama.mlpWidth,
    },
    // OFT, and every diffusion head, uses one token per action dimension.
    actionTokens: o.actionTokens ?? (isPerDimension ? actionDim : spec.actionTokens),
    actionDim,
    proprioDim: o.proprioDim ?? spec.proprioDim,
    lora: { rank: o.loraRank ?? spec.lora.rank, alpha: o.loraAlpha ?? spec.lora.alpha },
  };
  if (pruning === null) return checked(resolved);
  const visionTokens = o.visionTokens ?? pruning.visionTopk;
  return checked({
    ...resolved,
    pruning: {
      ...pruning,
      queries: o.visionTokens ?? pruning.queries,
      visionTopk: visionTokens,
      textTopk: o.pooledTokens ?? pruning.textTopk,
      exchangePairs:
        o.exchangePairs ??
        scalePairs(
          pruning.exchangePairs,
          [dinov2.depth, resolved.dinov2.depth],
          [siglip.depth, resolved.siglip.depth],
        ),
      text: {
        ...pruning.text,
        width: o.textWidth ?? pruning.text.width,
        layers: o.textLayers ?? pruning.text.layers,
        heads: o.textHeads ?? pruning.text.heads,
        mlpWidth: o.textMlp ?? pruning.text.mlpWidth,
        vocabSize: o.textVocab ?? pruning.text.vocabSize,
      },
    },
  });
}

/** Moves each pair to the same fraction of the new depth; pairs that coincide with an earlier one are dropped. */
export function scalePairs(
  pairs: readonly (readonly [number, number])[],
  [dinov2From, dinov2To]: readonly [number, number],
  [siglipFrom, siglipTo]: readonly [number, number],
): (readonly [number, number])[] {
  const scale = (block: number, from: number, to: number) =>
    Math.min(to - 1, Math.max(0, Math.round(((block + 1) * to) / from) - 1));
  const out: (readonly [number, number])[] = [];
  for (const [a, b] of pairs) {
    const pair = [scale(a, dinov2From, dinov2To), scale(b, siglipFrom, siglipTo)] as const;
    const last = out.at(-1);
    if (last === undefined || (pair[0] > last[0] && pair[1] > last[1])) out.push(pair);
  }
  return out;
}

function fail(option: string, expected: string, found: string): never {
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `synth ${option}: expected ${expected}, found ${found}. Change this size or the one it depends on.`,
  );
}

function checked(spec: SynthSpec): SynthSpec {
  const { dinov2, siglip, llama, pruning, imageSize, patchSize, actionDim, family, head } = spec;
  const divides = (option: string, width: number, heads: number) => {
    if (width % heads !== 0) fail(option, `a divisor of the width ${width}`, String(heads));
  };
  divides('dinov2Heads', dinov2.width, dinov2.heads);
  divides('siglipHeads', siglip.width, siglip.heads);
  divides('llamaHeads', llama.width, llama.heads);
  if ((llama.width / llama.heads) % 2 !== 0)
    fail('llamaHeads', 'an even head width (rotary embedding)', String(llama.width / llama.heads));
  if (llama.heads % llama.kvHeads !== 0)
    fail('llamaKvHeads', `a divisor of the ${llama.heads} heads`, String(llama.kvHeads));
  if (imageSize < patchSize) fail('imageSize', `at least one patch of ${patchSize}`, String(imageSize));
  const patches = Math.floor(imageSize / patchSize) ** 2;
  if (family === 'semanticvla' && head === 'l1' && actionDim % 7 !== 0)
    fail('actionDim', 'a multiple of 7 (3 translation, 3 rotation, 1 gripper an arm)', String(actionDim));
  if (pruning === null) {
    // Such a policy uses the output of the second-to-last block.
    for (const vit of [dinov2, siglip])
      if (vit.depth < 2) fail('depth', 'at least 2 blocks', String(vit.depth));
    return spec;
  }
  divides('textHeads', pruning.text.width, pruning.text.heads);
  if (pruning.text.vocabSize < unigramPieceCount)
    fail(
      'textVocab',
      `at least the ${unigramPieceCount} pieces of spiece.model`,
      String(pruning.text.vocabSize),
    );
  if (pruning.visionTopk !== pruning.queries)
    fail('visionTokens', `as many kept patches as queries (${pruning.queries})`, String(pruning.visionTopk));
  if (pruning.visionTopk > patches)
    fail('visionTokens', `at most the ${patches} patches`, String(pruning.visionTopk));
  if (pruning.textTopk > pruning.text.positions)
    fail('pooledTokens', `at most the ${pruning.text.positions} text positions`, String(pruning.textTopk));
  for (const [a, b] of pruning.exchangePairs)
    if (!(a >= 0 && a < dinov2.depth && b >= 0 && b < siglip.depth))
      fail('exchangePairs', `blocks below the depths ${dinov2.depth} and ${siglip.depth}`, `[${a}, ${b}]`);
  return spec;
}
