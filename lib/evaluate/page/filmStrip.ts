/**
 * What the policy looked at, as SVG: moments of an episode from left to right, cameras from top to bottom, kept patches bright
 * and outlined. Frames are embedded as JPEG; what the platform crops away is not shown.
 */

import type { Episode } from '../../dataset/dataset.ts';
import { escaped } from '../../plots/escaped.ts';
import { color } from '../../plots/palette.ts';
import type { ImageFrame } from '../../types.ts';
import { frameJpeg } from '../../view/frameJpeg.ts';
import { droppedArea, patchOutline, wholeFrame } from '../../view/patchGeometry.ts';
import type { EpisodePrediction } from '../evaluateEpisode.ts';
import type { Evaluation } from '../evaluation.ts';

/** The most moments shown side by side: with more, each would be too small to see. */
const mostMoments = 8;
const gap = 4;
const accent = '#ffd23f';

/** A piece of SVG and its height in pixels. */
export interface Drawn {
  readonly svg: string;
  readonly height: number;
}

/** At most `mostMoments` evenly spaced predictions, always including the first and the last. */
export function momentsOf(predictions: readonly EpisodePrediction[]): readonly EpisodePrediction[] {
  const count = Math.min(predictions.length, mostMoments);
  return Array.from(
    { length: count },
    (_, i) => predictions[count === 1 ? 0 : Math.round((i * (predictions.length - 1)) / (count - 1))]!,
  );
}

/**
 * @param left x of the frames, in pixels, which are `width` pixels wide in all; camera names stand to their left
 * @param episode whose observations the moments are
 * @throws (rejects) as `Episode.observations` does, and PACKAGE_UNAVAILABLE
 */
export async function filmStrip(
  { policy }: Evaluation,
  episode: Episode,
  moments: readonly EpisodePrediction[],
  { left, top, width }: { readonly left: number; readonly top: number; readonly width: number },
): Promise<Drawn> {
  const { cameras } = policy.platform;
  const column = width / moments.length;
  const side = Math.min(column - gap, 200);
  const parts: string[] = [];
  const places = new Map(moments.map(({ step, chunk }, i) => [step, { i, chunk }]));
  for await (const { step, observation } of episode.observations([...places.keys()])) {
    const { i, chunk } = places.get(step)!;
    for (const [row, camera] of cameras.entries()) {
      const x = left + i * column;
      const y = top + row * (side + gap);
      const frame = observation.images[camera]!;
      parts.push(
        `<svg aria-hidden="true" x="${round(x)}" y="${round(y)}" width="${round(side)}" height="${round(side)}" viewBox="0 0 ${policy.patchGrid} ${policy.patchGrid}">` +
          `${await image(frame, policy)}${kept(chunk.keptPatches[camera], policy.patchGrid)}</svg>`,
      );
    }
  }
  const names = cameras.map((camera, row) => {
    const y = top + row * (side + gap) + side / 2;
    // full_image: one line per word, beside the frame
    const words = camera.split('_');
    const lines = words.map(
      (word, i) =>
        `<tspan x="${left - 10}" y="${round(y + (i - (words.length - 1) / 2) * 14 + 4)}">${escaped(word)}</tspan>`,
    );
    return `<text text-anchor="end" font-size="12" fill="${color.ink}">${lines.join('')}</text>`;
  });
  return { svg: names.join('') + parts.join(''), height: cameras.length * (side + gap) };
}

/** In units of patches: a tower sees the middle 90 % of the area, stretched to a square. */
async function image(frame: ImageFrame, policy: Evaluation['policy']): Promise<string> {
  const jpeg = await frameJpeg('Frames of the page', frame);
  const { offset, side } = wholeFrame(policy);
  return `<image x="${round(offset)}" y="${round(offset)}" width="${round(side)}" height="${round(side)}" preserveAspectRatio="none" href="data:image/jpeg;base64,${jpeg.toString('base64')}"/>`;
}

function kept(indices: ArrayLike<number> | undefined, grid: number): string {
  // without a pruner the policy uses every patch
  if (indices === undefined) return '';
  const set = new Set(Array.from(indices));
  const line = `d="${patchOutline(set, grid, 1)}" fill="none" stroke-linecap="square" vector-effect="non-scaling-stroke"`;
  return (
    `<path d="${droppedArea(set, grid)}" fill="#0b1016" fill-opacity="0.55" fill-rule="evenodd"/>` +
    `<path ${line} stroke="#0b1016" stroke-opacity="0.5" stroke-width="4"/><path ${line} stroke="${accent}" stroke-width="2"/>`
  );
}

/** Rounds coordinates to hundredths, finer than anyone can see. */
export function round(value: number): number {
  return Math.round(100 * value) / 100;
}
