/** The small twin of a large policy: all widths and token counts, few layers, for random weights. */

import type { HeadConfig, PolicyConfig, VitConfig } from '../checkpoint/policyConfig.ts';
import type { SynthSpec, SynthVit } from '../synth/presets.ts';

/** Blocks of a tower: one before an exchange, one after, and the output block where it is the last but one. */
const towerDepth = 3;
/** A layer of all rows and the trimmed last one. */
const llamaLayers = 2;

function headName({ kind }: HeadConfig): SynthSpec['head'] {
  return kind === 'single' || kind === 'split' ? 'l1' : kind;
}

export function twinSpec(config: PolicyConfig): SynthSpec {
  const { siglip, dinov2, llama } = config;
  const { sampler } = siglip;
  return {
    name: 'twin',
    family: config.family,
    head: headName(config.head),
    imageSize: config.imageSize,
    patchSize: dinov2.patchSize,
    dinov2: twinVit(dinov2),
    siglip: twinVit(siglip),
    pruning:
      sampler === null
        ? null
        : {
            queries: dinov2.queries,
            visionTopk: sampler.visionTopk,
            textTopk: sampler.textTopk,
            exchangePairs: config.exchangePairs.length > 0 ? [[1, 1]] : [],
            aggregation: config.aggregation,
            text: {
              folder: 'siglip-text',
              width: sampler.textEncoder.width,
              layers: 2,
              heads: sampler.textEncoder.heads,
              mlpWidth: sampler.textEncoder.mlpWidth,
              vocabSize: sampler.textEncoder.vocabSize,
              positions: sampler.textEncoder.positions,
            },
          },
    llama: {
      width: llama.width,
      layers: llamaLayers,
      heads: llama.heads,
      kvHeads: llama.kvHeads,
      mlpWidth: llama.mlpWidth,
      vocabSize: llama.vocabSize,
      maxPositions: 2048,
    },
    actionTokens: config.actionTokensPerStep ?? config.actionDim ?? 7,
    actionDim: config.actionDim ?? 7,
    proprioDim: config.proprioDim ?? 0,
    lora: { rank: 2, alpha: 2 },
    datasetKey: 'twin',
    step: 1,
    shardBytes: 2 ** 30,
    platform: { name: 'libero', cameras: ['full_image', 'wrist_image'] },
  };
}

function twinVit(vit: VitConfig): SynthVit {
  return {
    timmName: vit.timmName,
    width: vit.width,
    depth: towerDepth,
    heads: vit.heads,
    // the synthesizer truncates width * mlpRatio: half a row more makes it this very number
    mlpRatio: (vit.mlpWidth + 0.5) / vit.width,
    registerTokens: vit.registerTokens,
    hasClsToken: vit.hasClsToken,
    hasLayerScale: vit.hasLayerScale,
    hasAttentionPool: vit.hasAttentionPool,
    film: vit.film,
  };
}
