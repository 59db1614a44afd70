/**
 * The architecture of a preset without a checkpoint: config and tensor shapes, no bytes. With bound weights that is all a
 * TensorRT plan depends on, so engines can be built before any weights are at hand.
 */

import { expectedTensors } from '../checkpoint/expectedTensors.ts';
import type { HeadConfig, PolicyConfig, TextEncoderConfig, VitConfig } from '../checkpoint/policyConfig.ts';
import type { TensorView } from '../checkpoint/tensorView.ts';
import type { PixelNormalizations } from '../graph/policyGraph.ts';
import { type SynthSpec, type SynthText, type SynthVit, synthPresets } from '../synth/presets.ts';

export interface Architecture {
  readonly config: PolicyConfig;
  readonly pixelNormalization: PixelNormalizations;
  /** Shapes by canonical name; there is nothing to read when they come from a preset (`file` is empty). */
  readonly tensors: ReadonlyMap<string, TensorView>;
}

/** Action heads as the reference's training code makes them. */
const headBlocks = 2;

/** Actions of a chunk (docs/model.md, Variants). */
const platformChunks = { libero: 8, aloha: 25, bridge: 5 } as const;

export function presetArchitecture(name: keyof typeof synthPresets): Architecture {
  return specArchitecture(synthPresets[name]);
}

/** Sizes that no checkpoint holds, as the preset's platform has them (../policy/platform.ts); `given` ones replace them. */
export function presetSizes(
  name: keyof typeof synthPresets,
  given: { readonly cameras?: number; readonly chunk?: number; readonly proprio?: boolean } = {},
): { images: number; chunk: number; actionDim: number; proprio: boolean } {
  const { actionDim, proprioDim, platform, head } = synthPresets[name];
  return {
    images: given.cameras ?? platform.cameras.length,
    chunk: given.chunk ?? (head === 'autoregressive' ? 1 : platformChunks[platform.name]),
    actionDim,
    proprio: given.proprio ?? proprioDim > 0,
  };
}

export function specArchitecture(spec: SynthSpec): Architecture {
  const config = configOf(spec);
  const tensors = new Map<string, TensorView>();
  for (const [name, { shape }] of expectedTensors(config)) {
    const byteLength = shape.reduce((product, n) => product * n, 2);
    tensors.set(name, { name, dtype: 'BF16', shape, file: '', offset: 0, byteLength });
  }
  return {
    config,
    tensors,
    pixelNormalization: {
      // DINOv2's numbers as a bfloat16 run saves them, like most trained checkpoints
      dinov2: { mean: [0.484375, 0.455078125, 0.40625], std: [0.228515625, 0.2236328125, 0.224609375] },
      siglip: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
    },
  };
}

function configOf(spec: SynthSpec): PolicyConfig {
  const { pruning, llama } = spec;
  const exchanges = pruning !== null && pruning.exchangePairs.length > 0;
  const vit = (tower: SynthVit, queries: number): VitConfig => ({
    timmName: tower.timmName,
    width: tower.width,
    depth: tower.depth,
    heads: tower.heads,
    mlpWidth: Math.trunc(tower.width * tower.mlpRatio),
    patchSize: spec.patchSize,
    patches: Math.floor(spec.imageSize / spec.patchSize) ** 2,
    prefixTokens: tower.registerTokens + (tower.hasClsToken ? 1 : 0),
    hasClsToken: tower.hasClsToken,
    registerTokens: tower.registerTokens,
    positionsCoverPrefix: tower.hasClsToken && tower.registerTokens === 0,
    hasAttentionPool: tower.hasAttentionPool,
    hasLayerScale: tower.hasLayerScale,
    layerNormEps: 1e-6,
    film: tower.film,
    queries,
    sampler: null,
    outputBlock: exchanges ? tower.depth - 1 : tower.depth - 2,
  });
  const sampler =
    pruning === null
      ? null
      : {
          visionTopk: pruning.visionTopk,
          textTopk: pruning.textTopk,
          temperature: 1,
          textEncoder: textEncoder(pruning.text),
        };
  return {
    family: spec.family,
    variant: spec.name,
    imageSize: spec.imageSize,
    dinov2: vit(spec.dinov2, pruning?.queries ?? 0),
    siglip: { ...vit(spec.siglip, 0), sampler },
    exchangePairs: pruning?.exchangePairs ?? [],
    aggregation: pruning?.aggregation ?? 'concat',
    llama: { ...llama, headDim: llama.width / llama.heads, rmsNormEps: 1e-6, ropeTheta: 10_000 },
    actionTokensPerStep: spec.actionTokens,
    actionDim: spec.actionDim,
    head: head(spec),
    proprioDim: spec.proprioDim === 0 ? null : spec.proprioDim,
  };
}

function textEncoder(text: SynthText): TextEncoderConfig {
  const { width, layers, heads, mlpWidth, vocabSize, positions } = text;
  return { folder: '', width, layers, heads, mlpWidth, vocabSize, positions, layerNormEps: 1e-6 };
}

/** Two arms: everything twice. */
function head(spec: SynthSpec): HeadConfig {
  const hiddenWidth = spec.llama.width;
  if (spec.head === 'discrete' || spec.head === 'autoregressive')
    return { kind: spec.head, bins: 256, tokenVocab: spec.llama.vocabSize - 64 };
  if (spec.head === 'diffusion' || spec.family !== 'semanticvla') {
    const kind = spec.head === 'diffusion' ? 'diffusion' : 'single';
    return { kind, hiddenWidth, blocks: headBlocks, outputs: spec.actionDim };
  }
  const arms = spec.actionDim / 7;
  return {
    kind: 'split',
    hiddenWidth,
    blocks: headBlocks,
    translation: 3 * arms,
    rotation: 3 * arms,
    gripper: arms,
    bimanual: arms === 2,
  };
}
