/**
 * Both towers side by side with the dense exchange of the SH-Fuser (spec, "Dense exchange"), and which rows leave them:
 * the SA-Pruner's query rows, or all patches.
 */

import { towerTokens } from '../tokenCounts.ts';
import type { Value } from './graphBuilder.ts';
import type { GraphContext } from './graphContext.ts';
import { geluMlp } from './layers.ts';
import type { TowerName } from './names.ts';
import { lastRows, runBlocks, runLastBlockForRows, type Tower } from './vit.ts';

/** [I, tokens, width] of each tower, before samplers. */
export function runTowers(ctx: GraphContext, dinov2: Tower, siglip: Tower): Record<TowerName, Value> {
  const { exchangePairs } = ctx.config;
  let next: readonly [number, number] = [0, 0];
  for (const [pair, [dinoBlock, siglipBlock]] of exchangePairs.entries()) {
    runBlocks(ctx, dinov2, next[0], dinoBlock);
    runBlocks(ctx, siglip, next[1], siglipBlock);
    exchange(ctx, dinov2, siglip, pair);
    next = [dinoBlock + 1, siglipBlock + 1];
  }
  return { dinov2: finish(ctx, dinov2, next[0]), siglip: finish(ctx, siglip, next[1]) };
}

/** The remaining blocks and the rows that are used afterwards. */
function finish(ctx: GraphContext, tower: Tower, from: number): Value {
  const { g, options } = ctx;
  const { vit, name } = tower;
  const keep = towerTokens(vit);
  const last = vit.outputBlock;
  // patches are never the last rows of a tower that has queries, so only queries can be cut this way
  const trims = !options.stages && vit.queries > 0 && from <= last;
  runBlocks(ctx, tower, from, trims ? last - 1 : last);
  const rows = trims
    ? runLastBlockForRows(ctx, tower, last, keep)
    : keep === tower.rows
      ? tower.x
      : lastPatchesOrQueries(ctx, tower, keep);
  const tokens = g.op('Reshape', [rows, g.ints([options.images, keep, vit.width])], {}, `${name}/final`);
  ctx.stage(`${name}.final`, tokens, [options.images, keep, vit.width]);
  // the reference also computes the blocks after the one whose output it takes; only `stages` shows them
  const after = `${tower.prefix}.blocks.${last + 1}.attn.qkv.weight`;
  if (options.stages && g.has(after)) runBlocks(ctx, { ...tower }, last + 1, vit.depth - 1);
  return tokens;
}

/** Patches follow the prefix and queries follow the patches, so both are the last rows of what a tower has. */
function lastPatchesOrQueries(ctx: GraphContext, tower: Tower, keep: number): Value {
  return ctx.g.scope(tower.name, () =>
    lastRows(ctx, tower.x, tower.rows, keep, tower.vit.width, 'output_rows'),
  );
}

/** z = [dino patches ; siglip patches]; each tower's patches += its MLP of z. Prefix and queries are untouched. */
function exchange(ctx: GraphContext, dinov2: Tower, siglip: Tower, pair: number): void {
  const { g, options } = ctx;
  g.scope(`exchange${pair}`, () => {
    const parts = [dinov2, siglip].map((tower) => splitRows(ctx, tower));
    const z = g.op('Concat', [parts[0]!.patches, parts[1]!.patches], { axis: -1 }, 'z');
    const width = dinov2.vit.width + siglip.vit.width;
    const flat = g.op('Reshape', [z, g.ints([options.images * dinov2.vit.patches, width])], {}, 'flat');
    for (const [index, tower] of [dinov2, siglip].entries()) {
      const { name, vit } = tower;
      const prefix = `vision_backbone.cross_vit_model.aggregate_proj.${2 * pair + index}`;
      const { before, patches, after } = parts[index]!;
      tower.x = g.scope(name, () => {
        const update = geluMlp(g, flat, `${prefix}.0`, `${prefix}.2`);
        const shaped = g.op(
          'Reshape',
          [update, g.ints([options.images, vit.patches, vit.width])],
          {},
          'update',
        );
        const updated = g.op('Add', [patches, shaped], {}, 'patches');
        ctx.stage(`${name}.patches_after_exchange${pair}`, updated, [options.images, vit.patches, vit.width]);
        const rows = [before, updated, after].filter((value) => value !== null);
        const all = rows.length === 1 ? updated : g.op('Concat', rows, { axis: 1 }, 'sequence');
        return g.op('Reshape', [all, g.ints([options.images * tower.rows, vit.width])], {}, 'rows');
      });
    }
  });
}

interface TowerRows {
  readonly before: Value | null;
  readonly patches: Value;
  readonly after: Value | null;
}

/** [I * rows, width] -> prefix, patches and queries, each [I, n, width]. */
function splitRows(ctx: GraphContext, tower: Tower): TowerRows {
  const { g, options } = ctx;
  const { vit, rows, name } = tower;
  return g.scope(`${name}_in`, () => {
    const images = g.op('Reshape', [tower.x, g.ints([options.images, rows, vit.width])], {}, 'images');
    const sizes = [vit.prefixTokens, vit.patches, vit.queries];
    const labels = ['prefix', 'patches', 'queries'];
    const present = sizes.flatMap((size, i) => (size > 0 ? [i] : []));
    if (present.length === 1) return { before: null, patches: images, after: null };
    const values = g.ops(
      'Split',
      [images, g.ints(present.map((i) => sizes[i]!))],
      { axis: 1 },
      'split',
      present.map((i) => labels[i]!),
    );
    const at = (i: number): Value | null => (present.includes(i) ? values[present.indexOf(i)]! : null);
    return { before: at(0), patches: at(1)!, after: at(2) };
  });
}
