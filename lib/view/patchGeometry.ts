/** Where patches lie in an image of the policy, and the image in a frame. */

import type { Policy } from '../types.ts';

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

/** The patches that are not kept, as SVG path data for `fill-rule="evenodd"`: the whole grid, with a hole for each kept one. */
export function droppedArea(kept: ReadonlySet<number>, grid: number): string {
  const holes = Array.from(kept, (index) => `M${index % grid} ${Math.floor(index / grid)}h1v1h-1z`);
  return `M0 0h${grid}v${grid}h-${grid}z${holes.join('')}`;
}

/**
 * Where a whole frame lies, stretched to a square, when a patch is the unit and the first one begins at 0: a tower sees the
 * middle 90 % of the area where the platform crops.
 */
export function wholeFrame({
  patchGrid,
  imageSize,
  platform,
}: Pick<Policy, 'patchGrid' | 'imageSize' | 'platform'>): { readonly offset: number; readonly side: number } {
  const seen = (platform.centerCrop ? Math.sqrt(0.9) : 1) * imageSize;
  const side = (patchGrid * imageSize * imageSize) / (seen * coveredSide(imageSize, patchGrid));
  return { offset: -((imageSize - seen) / 2 / imageSize) * side, side };
}
