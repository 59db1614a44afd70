/** Where patches lie in an image of the policy. */

/** The edges between kept and other patches, as SVG path data: neighbouring kept patches share one outline. */
export function patchOutline(kept: ReadonlySet<number>, grid: number, cell: number): string {
  let path = '';
  for (const index of kept) {
    const column = index % grid;
    const row = Math.floor(index / grid);
    const x = column * cell;
    const y = row * cell;
    if (row === 0 || !kept.has(index - grid)) path += `M${x} ${y}h${cell}`;
    if (row === grid - 1 || !kept.has(index + grid)) path += `M${x} ${y + cell}h${cell}`;
    if (column === 0 || !kept.has(index - 1)) path += `M${x} ${y}v${cell}`;
    if (column === grid - 1 || !kept.has(index + 1)) path += `M${x + cell} ${y}v${cell}`;
  }
  return path;
}

/** Side of the area that patches cover, in pixels: a remainder smaller than a patch is left out (384 = 27 * 14 + 6). */
export function coveredSide(size: number, grid: number): number {
  // every tower used by the reference has patches of 14 pixels
  const patch = Math.floor(size / 14) === grid ? 14 : Math.floor(size / grid);
  return grid * patch;
}
