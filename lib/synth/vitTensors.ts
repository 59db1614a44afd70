/** Tensors of the two vision towers in module order, with the names used in the shards and in `vision_backbone--*.pt`. */

import { type Linear, linear, linearLora, norm, normal } from './layers.ts';
import type { SynthSpec, SynthVit } from './presets.ts';
import type { PlannedTensor } from './tensorPlan.ts';

export interface VitSpelling {
  /** Wrapped blocks: `blocks.N.block.*`, with FiLM beside it and LoRA still split. null for the shards. */
  readonly wrapped: {
    readonly lora: SynthSpec['lora'];
    readonly splitPatchEmbed: boolean;
    readonly languageWidth: number;
  } | null;
}

/**
 * `prefix` is `vision_backbone.featurizer` or `vision_backbone.fused_featurizer`. All tensors are bf16 except FiLM, which is
 * float32.
 */
export function vitTensors(
  prefix: string,
  vit: SynthVit,
  spec: SynthSpec,
  { wrapped }: VitSpelling,
): PlannedTensor[] {
  const { width, depth } = vit;
  const mlpWidth = Math.trunc(width * vit.mlpRatio);
  const patches = Math.floor(spec.imageSize / spec.patchSize) ** 2;
  const dense = (name: string, layer: Linear) =>
    wrapped === null ? linear(name, layer) : linearLora(name, layer, wrapped.lora);
  // Residuals are scaled down with the depth, so that the sum of block outputs stays near one.
  const residual = 1 / Math.sqrt(depth);
  const out: PlannedTensor[] = [];
  if (vit.hasClsToken) out.push(normal(`${prefix}.cls_token`, [1, 1, width], 0.5));
  if (vit.registerTokens > 0) out.push(normal(`${prefix}.reg_token`, [1, vit.registerTokens, width], 0.5));
  out.push(normal(`${prefix}.pos_embed`, [1, patches, width], 0.5));
  const patchEmbed: Linear = { shape: [width, 3, spec.patchSize, spec.patchSize] };
  out.push(
    ...(wrapped?.splitPatchEmbed
      ? linearLora(`${prefix}.patch_embed.proj`, patchEmbed, wrapped.lora)
      : linear(`${prefix}.patch_embed.proj`, patchEmbed)),
  );
  for (let i = 0; i < depth; i += 1) {
    const outer = `${prefix}.blocks.${i}`;
    const block = wrapped === null ? outer : `${outer}.block`;
    out.push(
      ...norm(`${block}.norm1`, width),
      ...dense(`${block}.attn.qkv`, { shape: [3 * width, width] }),
      ...dense(`${block}.attn.proj`, { shape: [width, width], gain: residual }),
    );
    if (vit.hasLayerScale) out.push(normal(`${block}.ls1.scale_factor`, [width], 0.08, 0.4));
    out.push(
      ...norm(`${block}.norm2`, width),
      ...dense(`${block}.mlp.fc1`, { shape: [mlpWidth, width] }),
      ...dense(`${block}.mlp.fc2`, { shape: [width, mlpWidth], gain: residual }),
    );
    if (vit.hasLayerScale) out.push(normal(`${block}.ls2.scale_factor`, [width], 0.08, 0.4));
    if (vit.film && wrapped !== null) {
      const film: Linear = { shape: [width, wrapped.languageWidth], dtype: 'F32', gain: 4 };
      out.push(...linear(`${outer}.scale`, film), ...linear(`${outer}.shift`, film));
    }
  }
  out.push(...norm(`${prefix}.norm`, width));
  if (vit.hasAttentionPool) {
    const pool = `${prefix}.attn_pool`;
    out.push(
      normal(`${pool}.latent`, [1, 1, width], 0.5),
      ...dense(`${pool}.q`, { shape: [width, width] }),
      ...dense(`${pool}.kv`, { shape: [2 * width, width] }),
      ...dense(`${pool}.proj`, { shape: [width, width] }),
      ...norm(`${pool}.norm`, width),
      ...dense(`${pool}.mlp.fc1`, { shape: [mlpWidth, width] }),
      ...dense(`${pool}.mlp.fc2`, { shape: [width, mlpWidth] }),
    );
  }
  return out;
}
