/** What a timm model name says that weights do not: the number of heads; and what the weights must agree with. */

export interface TimmModel {
  readonly kind: 'dinov2' | 'siglip';
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
}

/** Width, depth, heads of timm's ViT sizes (vision_transformer.py). */
const sizes: Readonly<Record<string, readonly [number, number, number]>> = {
  small: [384, 12, 6],
  base: [768, 12, 12],
  large: [1024, 24, 16],
  so400m: [1152, 27, 16],
};

/** null: not a model whose blocks are the plain ones (pre-norm, GELU, LN eps 1e-6) that both towers are made of. */
export function timmModel(name: string): TimmModel | null {
  const match =
    /^vit_(small|base|large)_patch\d+(?:_reg\d+)?_(dinov2)(?:\.\w+)?$/.exec(name) ??
    /^vit_(base|large|so400m)_patch\d+_(siglip)_\d+(?:\.\w+)?$/.exec(name);
  const size = match === null ? undefined : sizes[match[1]!];
  if (match === null || size === undefined) return null;
  return {
    kind: match[2] === 'siglip' ? 'siglip' : 'dinov2',
    width: size[0],
    depth: size[1],
    heads: size[2],
  };
}
