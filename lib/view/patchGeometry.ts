/** Where patches lie on a policy image, for whatever draws them. */

/** Edges between kept and other patches, as the data of one path: neighbouring kept patches share one outline. */
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

/** Pixels that patches cover: towers leave out what is less than a patch (384 pixels are 27 patches of 14 and 6 pixels). */
export function coveredSide(size: number, grid: number): number {
  // every tower that the reference names has patches of 14
  const patch = Math.floor(size / 14) === grid ? 14 : Math.floor(size / grid);
  return grid * patch;
}
