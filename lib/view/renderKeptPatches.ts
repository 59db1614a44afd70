/**
 * The picture of a prediction: what the policy saw through each camera, which patches the ID-Pruner kept, and how similar each
 * patch is to the instruction. Frames are raster images with SVG over them; sharp writes the PNG.
 */

import { SemanticVlaError } from '../support/errors.ts';
import { loadSharp } from '../support/sharp.ts';
import { scaleColor } from './colorScale.ts';
import { drawText, measureText, needsFont, wrapText } from './lettering.ts';
import { coveredSide, patchOutline } from './patchGeometry.ts';

/** What is drawn, already preprocessed. */
export interface KeptPatchesView {
  /** [I, S, S, 3] uint8 RGB: the frames as they enter the policy, after resize and crop. */
  readonly frames: Uint8Array;
  /** S, pixels. */
  readonly imageSize: number;
  /** I names, in the order of `frames`. */
  readonly cameras: readonly string[];
  /** Patches along one side of a frame. */
  readonly patchGrid: number;
  /** By camera: kept patch indices, row-major in the grid; a camera that is missing kept all its patches. */
  readonly keptPatches: Readonly<Record<string, ArrayLike<number>>>;
  /** By camera: [patchGrid * patchGrid] mean similarity to the instruction; no map is drawn for a camera that is missing. */
  readonly scores: Readonly<Record<string, ArrayLike<number>>>;
  /** The instruction. */
  readonly title: string;
  /** A smaller line below the title, e.g. the checkpoint and the variant. */
  readonly subtitle?: string;
}

/** Approximate side of a panel in pixels; the exact one is the grid times a whole number of pixels per patch. */
const panelTarget = 448;
const margin = 28;
const gap = 28;
/** Pixels to the right of a similarity map for its colour scale. */
const scaleRoom = 78;
const ink = '#16202a';
const quiet = '#5a6673';
const accent = '#ffd23f';

interface Layer {
  readonly input: Buffer;
  readonly left: number;
  readonly top: number;
}

interface Layout {
  /** Side of a patch in the picture, in pixels. */
  readonly cell: number;
  readonly panel: number;
}

function checkView(view: KeptPatchesView): void {
  const wrong = (message: string): never => {
    throw new SemanticVlaError('OPTION_INVALID', message);
  };
  const { cameras, imageSize, patchGrid, frames } = view;
  const expected = cameras.length * imageSize * imageSize * 3;
  if (cameras.length === 0) wrong('Expected at least one camera to draw but received none.');
  if (frames.length !== expected) {
    wrong(
      `Expected frames of [${cameras.length}, ${imageSize}, ${imageSize}, 3] = ${expected} bytes ` +
        `but received ${frames.length}.`,
    );
  }
  const patches = patchGrid * patchGrid;
  for (const camera of cameras) {
    const kept = view.keptPatches[camera];
    const outside = kept && Array.from(kept).find((index) => !(index >= 0 && index < patches));
    if (outside !== undefined)
      wrong(`Kept patch ${outside} of "${camera}" lies outside its grid of ${patches}.`);
    const scores = view.scores[camera];
    if (scores && scores.length !== patches) {
      wrong(`Expected ${patches} scores for "${camera}" but received ${scores.length}.`);
    }
  }
}

function rectangle(index: number, grid: number, layout: Layout, attributes: string, inset = 0): string {
  const x = (index % grid) * layout.cell + inset;
  const y = Math.floor(index / grid) * layout.cell + inset;
  const side = layout.cell - 2 * inset;
  return `<rect x="${x}" y="${y}" width="${side}" height="${side}" ${attributes}/>`;
}

function svg(width: number, height: number, body: string): Buffer {
  return Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">${body}</svg>`,
  );
}

async function enlarge(
  frame: Uint8Array,
  { imageSize: size, patchGrid }: KeptPatchesView,
  panel: number,
  gray: boolean,
): Promise<Buffer> {
  const sharp = await loadSharp('Picture of kept patches');
  const side = coveredSide(size, patchGrid);
  const image = sharp(frame, { raw: { width: size, height: size, channels: 3 } })
    .extract({ left: 0, top: 0, width: side, height: side })
    .resize(panel, panel, { kernel: 'cubic' });
  return (gray ? image.grayscale().toColourspace('srgb') : image).png().toBuffer();
}

/** Outlines the kept patches and darkens the others. */
function keptOverlay(kept: ReadonlySet<number>, grid: number, layout: Layout): Buffer {
  let body = '';
  for (let index = 0; index < grid * grid; index++) {
    if (!kept.has(index)) body += rectangle(index, grid, layout, 'fill="#0b1016" fill-opacity="0.58"');
  }
  const path = patchOutline(kept, grid, layout.cell);
  body += `<path d="${path}" fill="none" stroke="#0b1016" stroke-width="4.5" stroke-linecap="square" stroke-opacity="0.45"/>`;
  body += `<path d="${path}" fill="none" stroke="${accent}" stroke-width="2.5" stroke-linecap="square"/>`;
  return svg(layout.panel, layout.panel, body);
}

function similarityOverlay(
  scores: ArrayLike<number>,
  range: readonly [number, number],
  kept: ReadonlySet<number>,
  grid: number,
  layout: Layout,
): Buffer {
  const [low, high] = range;
  const span = high > low ? high - low : 1;
  let body = '';
  for (let index = 0; index < grid * grid; index++) {
    const color = scaleColor((scores[index]! - low) / span);
    body += rectangle(index, grid, layout, `fill="${color}" fill-opacity="0.78"`);
  }
  const path = patchOutline(kept, grid, layout.cell);
  body += `<path d="${path}" fill="none" stroke="#000" stroke-width="4" stroke-linecap="square" stroke-opacity="0.55"/>`;
  body += `<path d="${path}" fill="none" stroke="#fff" stroke-width="1.8" stroke-linecap="square"/>`;
  return svg(layout.panel, layout.panel, body);
}

/** Vertical colour bar at (x, y), labelled with the values at both ends and in the middle. */
function colorBar(x: number, y: number, height: number, range: readonly [number, number]): string {
  const [low, high] = range;
  const steps = 64;
  const step = height / steps;
  let body = '';
  for (let i = 0; i < steps; i++) {
    const top = y + height - (i + 1) * step;
    // Steps overlap by one pixel to hide the seams between them.
    body += `<rect x="${x}" y="${top.toFixed(2)}" width="14" height="${(step + (i > 0 ? 1 : 0)).toFixed(2)}" fill="${scaleColor(i / (steps - 1))}"/>`;
  }
  body += `<rect x="${x}" y="${y}" width="14" height="${height}" fill="none" stroke="${quiet}" stroke-width="1"/>`;
  for (const [value, at] of [
    [high, 0],
    [(high + low) / 2, 0.5],
    [low, 1],
  ] as const) {
    const label = value.toFixed(Math.abs(high - low) < 0.05 ? 4 : 3);
    body += drawText(label, x + 20, y + at * (height - 11), { size: 10, color: ink });
  }
  return body;
}

function rangeOf(values: ArrayLike<number>): [number, number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) {
    low = Math.min(low, values[i]!);
    high = Math.max(high, values[i]!);
  }
  return [low, high];
}

/** Whether SVG text is visible on this machine: without fonts it is not. */
async function hasFonts(): Promise<boolean> {
  const sharp = await loadSharp('Picture of kept patches');
  const text =
    '<rect width="40" height="40" fill="#fff"/><text y="30" font-family="sans-serif" font-size="30">a</text>';
  const pixels = await sharp(svg(40, 40, text))
    .greyscale()
    .raw()
    .toBuffer();
  return pixels.some((value) => value < 200);
}

/** Explains the marks, at the foot of the picture. */
function legend(x: number, y: number, pruned: boolean, patches: number): string {
  const style = { size: 10, color: quiet };
  if (!pruned) {
    return drawText(`no pruning in this policy: all ${patches} patches of every frame are used`, x, y, style);
  }
  let body =
    `<rect x="${x + 1}" y="${y - 3}" width="16" height="16" fill="#c9d3dc" stroke="${accent}" stroke-width="2.5"/>` +
    drawText('kept by the ID-Pruner', x + 26, y, style);
  const second = x + 26 + measureText('kept by the ID-Pruner', 10) + 30;
  body +=
    `<rect x="${second}" y="${y - 4}" width="18" height="18" fill="#3f464e"/>` +
    drawText('dropped', second + 26, y, style);
  const third = second + 26 + measureText('dropped', 10) + 30;
  return (
    body +
    drawText(
      'map: mean cosine of patch and instruction tokens, its own scale for each camera',
      third,
      y,
      style,
    )
  );
}

/**
 * Draws the frames with kept patches outlined and the others darkened, a similarity map beside each, the camera names and the
 * instruction. Without kept patches (OpenVLA-OFT) it draws only the frames, side by side, with a note.
 *
 * @returns a PNG
 * @throws (rejects) OPTION_INVALID if frames, indices or scores do not fit `imageSize` and `patchGrid`, PACKAGE_UNAVAILABLE
 *   without sharp
 */
export async function renderKeptPatches(view: KeptPatchesView): Promise<Buffer> {
  checkView(view);
  const { cameras, imageSize, patchGrid: grid } = view;
  const patches = grid * grid;
  const cell = Math.max(2, Math.round(panelTarget / grid));
  const layout: Layout = { cell, panel: cell * grid };
  const { panel } = layout;
  const pruned = cameras.some((camera) => view.keptPatches[camera] !== undefined);
  const mapped = cameras.some((camera) => view.scores[camera] !== undefined);
  const columns = pruned || mapped ? 1 : cameras.length;
  const cellWidth = panel + (mapped ? gap + panel + scaleRoom : 0);
  const minimum = pruned ? 960 : 640;
  const width = Math.max(minimum, 2 * margin + columns * cellWidth + (columns - 1) * gap);

  const titleSize = 17;
  const written = [view.title, view.subtitle ?? '', ...cameras].join('');
  const scriptFonts = needsFont(written) && (await hasFonts());
  const titleLines = wrapText(view.title, titleSize, width - 2 * margin);
  let y = margin;
  let body = '';
  for (const line of titleLines) {
    body += drawText(line, margin, y, { size: titleSize, color: ink, bold: true, scriptFonts });
    y += titleSize * 1.75;
  }
  if (view.subtitle) {
    for (const line of wrapText(view.subtitle, 10, width - 2 * margin)) {
      body += drawText(line, margin, y, { size: 10, color: quiet, scriptFonts });
      y += 20;
    }
  }
  y = Math.round(y + 14);

  const layers: Layer[] = [];
  const rowHeight = 26 + panel + 26;
  for (const [i, camera] of cameras.entries()) {
    const left = margin + (i % columns) * (cellWidth + gap);
    const top = y + Math.floor(i / columns) * rowHeight + 26;
    const frame = view.frames.subarray(i * imageSize * imageSize * 3, (i + 1) * imageSize * imageSize * 3);
    const kept = view.keptPatches[camera];
    const keptSet = new Set(Array.from(kept ?? []));
    body += drawText(camera, left, top - 20, { size: 12, color: ink, bold: true, scriptFonts });
    const note = kept ? `${keptSet.size} of ${patches} patches kept` : 'all patches used';
    body += drawText(note, left + measureText(camera, 12) + 18, top - 18, { size: 10, color: quiet });

    layers.push({ input: await enlarge(frame, view, panel, false), left, top });
    if (kept) layers.push({ input: keptOverlay(keptSet, grid, layout), left, top });

    const scores = view.scores[camera];
    if (scores) {
      const mapLeft = left + panel + gap;
      const range = rangeOf(scores);
      body += drawText('similarity to the instruction', mapLeft, top - 18, { size: 10, color: quiet });
      body += colorBar(mapLeft + panel + 12, top, panel, range);
      layers.push({ input: await enlarge(frame, view, panel, true), left: mapLeft, top });
      layers.push({ input: similarityOverlay(scores, range, keptSet, grid, layout), left: mapLeft, top });
    }
  }
  y += Math.ceil(cameras.length / columns) * rowHeight;
  body += legend(margin, y, pruned, patches);
  const height = Math.round(y + 12 + margin);

  const sharp = await loadSharp('Picture of kept patches');
  return sharp({ create: { width: Math.round(width), height, channels: 3, background: '#ffffff' } })
    .composite([...layers, { input: svg(Math.round(width), height, body), left: 0, top: 0 }])
    .png()
    .toBuffer();
}
