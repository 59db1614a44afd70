/** Names, shapes and meaning of what enters and leaves the two graphs; each name is written once. */

export const names = {
  /** int64 [P + 1]: prompt ids (BOS first) and the stop id; autoregressive: [P], without it. */
  promptIds: 'prompt_ids',
  /** int64 [64]: SigLIP text ids, padded. */
  siglipIds: 'siglip_ids',
  /** uint8 [I, S, S, 3]: RGB after resize and crop. */
  images: 'images',
  /** float32 [1, proprioDim]: normalized joint state. */
  proprio: 'proprio',

  /** float32 [1, D]: embedding of BOS. */
  bosEmbedding: 'bos_embedding',
  /** float32 [P - 1 + H*C + 1, D]: embeddings of the other prompt ids, H*C zero rows, and the stop id's; autoregressive: [P - 1, D]. */
  tailEmbeddings: 'tail_embeddings',
  /** float32 [2, 1, L, d]: rotary cosines for q (times 1/sqrt(d)) and k. */
  rotaryCos: 'rotary_cos',
  /** float32 [2, 1, L, d]: rotary sines likewise, the first half negated (half-split layout). */
  rotarySin: 'rotary_sin',
  /**
   * float32 [L, L]: 0 where attention is allowed, the lowest float where not. Absent when fully bidirectional; autoregressive:
   * of the prompt's pass alone.
   */
  attentionBias: 'attention_bias',
  /** float32 [1, 2]: mixture weights of the two towers (`moe` only). */
  routerWeights: 'router_weights',
  /** float32 [1, width]: 1 + gamma of one block. */
  filmScale: (tower: TowerName, block: number) => `film.${tower}.block${block}.scale`,
  /** float32 [1, width]: beta of one block. */
  filmShift: (tower: TowerName, block: number) => `film.${tower}.block${block}.shift`,
  /** float32 [64, width]: projected text tokens T for one tower's sampler. */
  textTokens: (tower: TowerName) => `${tower}_text_tokens`,
  /** bool [64]: true where a text token counts. */
  textMask: 'text_mask',

  /** float32 [C, A]: normalized actions; of a denoiser: those after one step. */
  actions: 'actions',
  /** int64 [C, A]: the tokens that actions are decoded from. */
  tokenIds: 'token_ids',

  /** float32 [C, A]: noisy actions before a step of denoising. */
  noisyActions: 'noisy_actions',
  /** float32 [1, D]: embedding of the time step. */
  timeEmbedding: 'time_embedding',
  /** float32 [1, 4]: sqrt(alpha), sqrt(1 - alpha), then both of the previous time step (lib/transforms/ddim.ts). */
  ddimFactors: 'ddim_factors',
  /** float32 [C, A]: noise that the head predicts. */
  noise: 'noise_pred',
  /** float32 [1 + n_vis, D]: embeddings of BOS, vision and proprioception, which no step changes. */
  prefix: 'prefix',
  /** float32 [kv heads, 1 + n_vis, d]: keys (rotated) and values of them in one layer, where no later row changes them. */
  prefixKeys: (layer: number) => `prefix_keys.${layer}`,
  prefixValues: (layer: number) => `prefix_values.${layer}`,
  /** int64 [I, topk]: ascending indices of the patches that one tower's sampler kept. */
  keptPatches: (tower: TowerName) => `${tower}_kept_patches`,
  /** float32 [I, patches, 64]: similarity patch x text token of one tower's sampler. */
  similarity: (tower: TowerName) => `${tower}_similarity`,
} as const;

/** DINOv2 is `featurizer`, SigLIP is `fused_featurizer` in the checkpoint. */
export type TowerName = 'dinov2' | 'siglip';
export const towerNames: readonly TowerName[] = ['dinov2', 'siglip'];
