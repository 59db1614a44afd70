/**
 * From a node's name to the policy's own block. Names are paths that lib/graph gives (`siglip/block11/attn/qkv`); a weight
 * that is widened as it is used carries the checkpoint's own name (`language_model.model.layers.3.mlp.up_proj.weight/float32`).
 *
 * Runtimes wrap, join and prefix these names, and they are recovered from what a runtime calls its layers:
 *
 * ONNX Runtime   appends the fusion (`llama/layer0/input_norm/scaled/SimplifiedLayerNormFusion/`), prefixes (`fused head/fc1`),
 *                or writes the function that it inlined (`_inlfunc_instructionTopK_patch_norm`)
 * TensorRT       joins with ` + `, wraps (`PWN(a)`, `{ForeignNode[a...b]}`), or invents a name (`__myl_FcMul_myl0_3`) and keeps
 *                ours in the layer's metadata (`[ONNX Layer: a][ONNX Layer: b]`)
 */

/** `instruction` runs once a sentence, `policy` once a chunk. */
export type GraphName = 'instruction' | 'policy';

/** The main parts of a chunk, in the order in which they run. */
export const policyStages = ['instruction', 'vision', 'pruner', 'fuser', 'llm', 'heads', 'other'] as const;
export type PolicyStage = (typeof policyStages)[number];

/** Layers that belong to no block. */
export const otherBlock = 'other';

type Rule = readonly [pattern: RegExp, block: string | ((match: RegExpExecArray) => string)];

const tower = '(dinov2|siglip)';
/** In a checkpoint the towers are `featurizer` and `fused_featurizer`. */
const weights = 'vision_backbone\\.(fused_)?featurizer';
const at = (pattern: string): RegExp => new RegExp(`^${pattern}`);

/** First match wins. `$1` and so on are groups of the pattern. */
const policyRules: readonly Rule[] = [
  [
    at(`${tower}/block(\\d+)(?:_run\\d+)?/(?:norm1|attn|ls1|attn_residual|kept)(?:/|$)`),
    '$1 block $2 attention',
  ],
  [at(`${tower}/block(\\d+)(?:_run\\d+)?/film`), '$1 block $2 film'],
  [at(`${tower}/block(\\d+)(?:_run\\d+)?/(?:mlp|ls2|out)(?:/|$)`), '$1 block $2 mlp'],
  [at(`${tower}/embed/`), '$1 embedding'],
  [at(`${tower}/(?:final|output_rows)`), '$1 output'],
  [/^patches\//, 'image patches'],
  [/^exchange(\d+)\//, 'fuser exchange $1'],
  [at(`${tower}_(?:pruner/|kept_patches$|similarity$)`), 'pruner $1'],
  [/^(?:instructionTopK|textGuidedPooling)(?:_|$)/, 'pruner'],
  [/^channelConcat(?:_|$)/, 'fuser'],
  [at(`fuser/${tower}_pooled/`), 'projector pooled $1'],
  [at(`fuser/${tower}_expert/`), 'projector $1'],
  [/^(?:fuser\/(?:fc\d|gelu\d?)$|projector\.)/, 'projector'],
  [/^fuser\//, 'fuser'],
  [/^(?:proprio\/|proprio_projector\.)/, 'proprio projector'],
  [
    /^(?:sequence$|prefix_|prompt_tables\/|token\d+\/|(?:cos|sin|bias)_rows$|rows$|words$|stop$|time$)/,
    'llama input',
  ],
  [/^(?:noisy|ddim)(?:\/|_)/, 'action head diffusion'],
  [/^noisy_action_projector\./, 'action head diffusion'],
  [/^llama\/layer(\d+)\/(?:input_norm|attn|attn_residual|window)(?:\/|$)/, 'llama layer $1 attention'],
  [/^llama\/layer(\d+)\/(?:post_norm|mlp|out)(?:\/|$)/, 'llama layer $1 mlp'],
  [/^(?:llama\/(?:norm|window|last_row)|language_model\.model\.norm\b)/, 'llama norm'],
  [/^(?:head\/|action_head\.)model_trans[/.]/, 'action head translation'],
  [/^(?:head\/|action_head\.)model_rot[/.]/, 'action head rotation'],
  [/^(?:head\/|action_head\.)model_grip[/.]/, 'action head gripper'],
  [/^(?:head\/(?:steps|arms\d+|actions)$|actions(?:_float)?$)/, 'coupler'],
  [/^(?:head\/|action_head\.|language_model\.lm_head\b)/, 'action head'],
  // weights under the checkpoint's names
  [at(`${weights}\\.blocks\\.(\\d+)\\.(?:norm1|attn|ls1)\\b`), '$1 block $2 attention'],
  [at(`${weights}\\.blocks\\.(\\d+)\\.`), '$1 block $2 mlp'],
  [at(`${weights}\\.`), '$1 embedding'],
  [/^vision_backbone\.vision_queries_fused\b/, 'siglip embedding'],
  [/^vision_backbone\.vision_queries\b/, 'dinov2 embedding'],
  [
    // two projections an exchange, one a tower
    /^vision_backbone\.cross_vit_model\.aggregate_proj\.(\d+)\./,
    (match) => `fuser exchange ${Math.floor(Number(match[1]) / 2)}`,
  ],
  [/^(fused_)?featurizer_proj\./, 'projector $1'],
  [/^(fused_)?featurizer_sampler_proj\./, 'projector pooled $1'],
  [/^language_model\.model\.layers\.(\d+)\.(?:input_layernorm|self_attn)\b/, 'llama layer $1 attention'],
  [/^language_model\.model\.layers\.(\d+)\./, 'llama layer $1 mlp'],
];

const textTower = `${weights}_mm_sampler\\.`;
const textLayer = `${textTower}text_encoder\\.text_model\\.encoder\\.layers\\.(\\d+)\\.`;

const instructionRules: readonly Rule[] = [
  [at(`${tower}_text/layer(\\d+)/(?:mlp/|out$)`), '$1 text tower layer $2 mlp'],
  [at(`${tower}_text/layer(\\d+)/`), '$1 text tower layer $2 attention'],
  [at(`${tower}_text/post_projector/`), '$1 text projector'],
  [at(`${tower}_text(?:/|_tokens$)`), '$1 text tower'],
  [/^text(?:\/|_mask$)/, 'text mask'],
  [/^(?:prompt\/|bos_embedding$|tail_embeddings$|language_model\.model\.embed_tokens\b)/, 'prompt embedding'],
  [/^(?:mask\/|attention_bias$|sequence\/)/, 'attention mask'],
  [/^rotary(?:\/|_cos$|_sin$)/, 'rotary tables'],
  [at(`film[/.]${tower}[/.]block\\d+`), '$1 film'],
  [/^(?:e_avg|embeddings_float$)/, 'prompt mean'],
  [/^(?:router(?:\/|_weights$)|moe_router\.)/, 'router'],
  [at(`${textLayer}(?:self_attn|layer_norm1)`), '$1 text tower layer $2 attention'],
  [at(textLayer), '$1 text tower layer $2 mlp'],
  [at(textTower), '$1 text tower'],
  [at(`${weights}\\.blocks\\.\\d+\\.(?:scale|shift)\\b`), '$1 film'],
];

/**
 * @param name of a node as lib/graph gave it
 * @returns `siglip block 11 attention`, `llama layer 3 mlp`, `pruner siglip`, `action head`,
 *   `instruction: siglip text tower layer 2 mlp`; null for a name that lib/graph does not give
 */
export function blockOf(name: string, graph: GraphName): string | null {
  // a pass for one more token is a pass of the same blocks
  const node = name.replace(/^token\d+\/(?=llama\/|head\/)/, '');
  for (const [pattern, block] of graph === 'policy' ? policyRules : instructionRules) {
    const match = pattern.exec(node);
    if (match === null) continue;
    const words = { undefined: 'dinov2', fused_: 'siglip' } as Readonly<Record<string, string>>;
    const filled =
      typeof block === 'function'
        ? block(match)
        : block.replace(
            /\$(\d)/g,
            (_, group: string) => words[String(match[Number(group)])] ?? match[Number(group)]!,
          );
    return graph === 'policy' ? filled : `instruction: ${filled}`;
  }
  return null;
}

const stageRules: readonly (readonly [RegExp, PolicyStage])[] = [
  [/^instruction: /, 'instruction'],
  [/^(?:dinov2|siglip|image|fuser exchange) /, 'vision'],
  [/^pruner/, 'pruner'],
  [/^(?:fuser|projector|proprio)/, 'fuser'],
  [/^llama /, 'llm'],
  [/^(?:action head|coupler)/, 'heads'],
];

/** The stage of a block. The dense exchange of the SH-Fuser runs between the blocks of the towers and counts as vision. */
export function stageOfBlock(block: string): PolicyStage {
  return stageRules.find(([pattern]) => pattern.test(block))?.[1] ?? 'other';
}

/** `siglip block 11 attention` -> `siglip block 11`; other blocks stay as they are. */
export function wholeBlock(block: string): string {
  return block.replace(/ (?:attention|mlp|film)$/, '');
}

/** Names in metadata, when there are any, say more than the layer's own name. */
export function nodesOf(name: string, metadata = ''): string[] {
  // versions differ in what stands between two of them: nothing, or one of ASCII's separators
  const text = metadata.replaceAll('\u001f', ' ').replaceAll('\u001e', ' ');
  const told = [...text.matchAll(/\[ONNX Layer: (.*?)\](?=\s*(?:\[ONNX Layer: |$))/g)].map(
    (match) => match[1]!,
  );
  return told.length > 0 ? told : split(name);
}

function split(name: string): string[] {
  return name
    .replaceAll('...', ' ')
    .split(/ \+ |[\s{}(),|]+|\[(?!\d)|\](?=\s|$|})/)
    .map((part) => part.replace(/^(?:fused|ForeignNode)$/, '').replace(/^_inlfunc_/, ''))
    .filter((part) => part !== '');
}

/**
 * The block of a layer. One that spans several belongs to the one it computes most nodes of (the first of equals), whole, so
 * that nothing is counted twice.
 * @returns null when none of its names is ours
 */
export function blockOfLayer(name: string, graph: GraphName, metadata = ''): string | null {
  const counts = new Map<string, number>();
  for (const node of nodesOf(name, metadata)) {
    const block = blockOf(node, graph);
    if (block !== null) counts.set(block, (counts.get(block) ?? 0) + 1);
  }
  let best: string | null = null;
  for (const [block, count] of counts) {
    if (best === null || count > counts.get(best)!) best = block;
  }
  return best;
}
