/**
 * Both towers in parallel with the dense exchange of the SH-Fuser (docs/model.md, "Dense exchange"), and which rows they output:
 * the SA-Pruner's query rows, or all patches.
 */

import { neededSteps, type TowerStep, towerSchedule } from '../checkpoint/towerSchedule.ts';
import type { Value } from './graphBuilder.ts';
import type { GraphContext } from './graphContext.ts';
import { geluMlp } from './layers.ts';
import { type TowerName, towerNames } from './names.ts';
import { towerTokens } from './tokenCounts.ts';
import { lastRows, runBlock, runLastBlockForRows, type Tower } from './vit.ts';

/** [I, tokens, width] of each tower, before samplers. */
export function runTowers(ctx: GraphContext, dinov2: Tower, siglip: Tower): Record<TowerName, Value> {
  const { options, config } = ctx;
  const whole = towerSchedule(config);
  // `stages` also shows what nothing reads
  const { steps, leaves } = options.stages ? whole : neededSteps(whole);
  const towers: Record<TowerName, Tower> = { dinov2, siglip };
  const out: Partial<Record<TowerName, Value>> = {};
  for (const [at, step] of steps.entries()) {
    if ('pair' in step) exchange(ctx, towers, step);
    else if (leaves[step.tower] === at && trims(ctx, towers[step.tower], steps.slice(at + 1)))
      out[step.tower] = runLastBlockForRows(
        ctx,
        towers[step.tower],
        step.block,
        towers[step.tower].vit.queries,
      );
    else runBlock(ctx, towers[step.tower], step.block);
    for (const name of towerNames) {
      if (leaves[name] === at) out[name] = leave(ctx, towers[name], out[name] ?? null);
    }
  }
  if (options.stages && config.dinov2.outputBlock < config.dinov2.depth - 1)
    for (const name of towerNames) runRest(ctx, towers[name]);
  return { dinov2: out.dinov2!, siglip: out.siglip! };
}

/** Whether the last block is computed only for the queries, because nothing reads its other rows. */
function trims({ options }: GraphContext, { vit, name }: Tower, later: readonly TowerStep[]): boolean {
  // in a tower with queries the patches are never the last rows, so only queries can be cut out this way
  return !options.stages && vit.queries > 0 && later.every((step) => 'tower' in step && step.tower !== name);
}

/** The rows used afterwards. @param rows already cut out, or null */
function leave(ctx: GraphContext, tower: Tower, rows: Value | null): Value {
  const { g, options } = ctx;
  const { vit, name } = tower;
  const keep = towerTokens(vit);
  const kept = rows ?? (keep === tower.rows ? tower.x : lastPatchesOrQueries(ctx, tower, keep));
  const tokens = g.op('Reshape', [kept, g.ints([options.images, keep, vit.width])], {}, `${name}/final`);
  ctx.stage(`${name}.final`, tokens, [options.images, keep, vit.width]);
  return tokens;
}

/** The reference also computes the blocks after the one whose output it uses; only `stages` shows them. */
function runRest(ctx: GraphContext, tower: Tower): void {
  const { vit, prefix } = tower;
  for (let block = vit.outputBlock + 1; block < vit.depth; block++) {
    if (ctx.g.has(`${prefix}.blocks.${block}.attn.qkv.weight`)) runBlock(ctx, tower, block);
  }
}

/** Patches follow the prefix and queries follow the patches, so either kind is at the end of a tower that has it. */
function lastPatchesOrQueries(ctx: GraphContext, tower: Tower, keep: number): Value {
  return ctx.g.scope(tower.name, () =>
    lastRows(ctx, tower.x, tower.rows, keep, tower.vit.width, 'output_rows'),
  );
}

/** z = [dino patches ; siglip patches]; each tower's patches += its MLP of z. Prefix and queries are untouched. */
function exchange(
  ctx: GraphContext,
  { dinov2, siglip }: Record<TowerName, Tower>,
  { pair, updates }: Extract<TowerStep, { readonly pair: number }>,
): void {
  const { g, options } = ctx;
  g.scope(`exchange${pair}`, () => {
    const parts = [dinov2, siglip].map((tower) => splitRows(ctx, tower));
    const z = g.op('Concat', [parts[0]!.patches, parts[1]!.patches], { axis: -1 }, 'z');
    const width = dinov2.vit.width + siglip.vit.width;
    const flat = g.op('Reshape', [z, g.ints([options.images * dinov2.vit.patches, width])], {}, 'flat');
    for (const [index, tower] of [dinov2, siglip].entries()) {
      const { name, vit } = tower;
      if (!updates.includes(name)) continue;
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
