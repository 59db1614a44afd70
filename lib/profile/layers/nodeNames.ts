/**
 * Recovers the names that lib/graph gave from what a runtime calls the layers it makes of them.
 *
 * ONNX Runtime   appends the fusion (`llama/layer0/input_norm/scaled/SimplifiedLayerNormFusion/`), prefixes (`fused head/fc1`),
 *                or writes the function that it inlined (`_inlfunc_instructionTopK_patch_norm`)
 * TensorRT       joins with ` + `, wraps (`PWN(a)`, `{ForeignNode[a...b]}`), or invents a name (`__myl_FcMul_myl0_3`) and keeps
 *                ours in the layer's metadata (`[ONNX Layer: a][ONNX Layer: b]`)
 */

import { blockOf, type GraphName } from './blocks.ts';

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
