/** The order in which stages are computed, so that the first row that differs is where two implementations diverge. */

/** Patterns in computation order; names as in the reference outputs (test/golden/README.md). */
const order: readonly RegExp[] = [
  /^image\d+\.decoded$/,
  /^image\d+\.resized$/,
  /^image\d+\.cropped$/,
  /^image\d+\.pixel_values\./,
  /^prompt\.ids$/,
  /^siglip_text\.ids$/,
  /^siglip_text\.mask$/,
  /^e_avg$/,
  /^film\./,
  /^siglip_text\.hidden$/,
  /^siglip_text\.projected$/,
  /^image\d+\.(dinov2|siglip)\.embedded$/,
  /^image\d+\.(dinov2|siglip)\.block\d+$/,
  /^image\d+\.(dinov2|siglip)\.patches_after_exchange\d+$/,
  /^image\d+\.(dinov2|siglip)\.final$/,
  /^image\d+\.similarity$/,
  /^image\d+\.patches_scores_sorted$/,
  /^image\d+\.text_scores_sorted$/,
  /^image\d+\.kept_patches$/,
  /^image\d+\.kept_text$/,
  /^image\d+\.sampler\./,
  /^image\d+\.pooled_tokens$/,
  /^image\d+\.fused_tokens$/,
  /^vision_tokens$/,
  /^proprio\.normalized$/,
  /^proprio\.token$/,
  /^llm\.inputs_embeds$/,
  /^llm\.attention_mask$/,
  /^llm\.hidden\d+$/,
  /^llm\.window$/,
  /^head\./,
  /^actions\.normalized$/,
  /^actions\.unnormalized$/,
];

function rank(name: string): number {
  const place = order.findIndex((pattern) => pattern.test(name));
  // Unknown names, from other implementations, come last, sorted by name.
  return place === -1 ? order.length : place;
}

/** For `Array.sort`: computation order first, then by name, comparing numbers in names as numbers. */
export function compareStageNames(a: string, b: string): number {
  return rank(a) - rank(b) || a.localeCompare(b, 'en', { numeric: true });
}
