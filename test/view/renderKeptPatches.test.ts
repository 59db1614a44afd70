import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { scaleColor } from '../../lib/view/colorScale.ts';
import { drawText, measureText, wrapText } from '../../lib/view/lettering.ts';
import { patchScores } from '../../lib/view/patchScores.ts';
import { type KeptPatchesView, renderKeptPatches } from '../../lib/view/renderKeptPatches.ts';

const test = suite('view');

/** Two white 28 px frames on a grid of 2 x 2; the first camera keeps patch 0 only. */
function view(overrides: Partial<KeptPatchesView> = {}): KeptPatchesView {
  return {
    frames: new Uint8Array(2 * 28 * 28 * 3).fill(255),
    imageSize: 28,
    cameras: ['front', 'wrist'],
    patchGrid: 2,
    keptPatches: { front: [0], wrist: [1, 2] },
    scores: { front: [0.4, 0.1, 0, 0.2], wrist: [0, 0.3, 0.3, 0] },
    title: '"lift the cup"',
    ...overrides,
  };
}

interface Picture {
  readonly width: number;
  readonly height: number;
  pixel(x: number, y: number): readonly number[];
}

async function draw(input: KeptPatchesView): Promise<Picture> {
  const { data, info } = await sharp(await renderKeptPatches(input))
    .raw()
    .toBuffer({ resolveWithObject: true });
  return {
    width: info.width,
    height: info.height,
    pixel: (x, y) => [...data.subarray((y * info.width + x) * info.channels).subarray(0, 3)],
  };
}

/** Top of the first panel: the first row, from the top, whose pixels differ from white well inside the left panel. */
const panelLeft = 28;
const panel = 448;

function panelTop(picture: Picture): number {
  // The second patch of the first camera is dropped, so it is dark: look for its upper edge from below the title.
  const x = panelLeft + (panel * 3) / 4;
  for (let y = 60; y < picture.height; y++) {
    if (picture.pixel(x, y).every((value) => value < 160)) return y;
  }
  throw new Error('no darkened patch found');
}

test('kept patches stay bright, dropped ones are darkened', async () => {
  const picture = await draw(view());
  const top = panelTop(picture);
  assert.equal(picture.pixel(panelLeft + panel / 4, top + panel / 4), [255, 255, 255]);
  for (const [column, row] of [
    [3, 1],
    [1, 3],
    [3, 3],
  ] as const) {
    const [red] = picture.pixel(panelLeft + (panel * column) / 4, top + (panel * row) / 4);
    assert.ok(red! < 160, `patch at ${column},${row} has red ${red}`);
  }
});

test('the map uses the full colour scale of each camera', async () => {
  const picture = await draw(view());
  const top = panelTop(picture);
  const mapLeft = panelLeft + panel + 28;
  const best = picture.pixel(mapLeft + panel / 4, top + panel / 4);
  const worst = picture.pixel(mapLeft + panel / 4, top + (panel * 3) / 4);
  // 78 % of the colour over a white frame.
  const over = (hex: string): number[] =>
    [1, 3, 5].map((at) => Math.round(Number.parseInt(hex.slice(at, at + 2), 16) * 0.78 + 255 * 0.22));
  for (let i = 0; i < 3; i++) {
    assert.ok(Math.abs(best[i]! - over(scaleColor(1))[i]!) <= 2, `best ${best}`);
    assert.ok(Math.abs(worst[i]! - over(scaleColor(0))[i]!) <= 2, `worst ${worst}`);
  }
});

test('a policy without a pruner: frames side by side, untouched', async () => {
  const picture = await draw(view({ keptPatches: {}, scores: {} }));
  assert.ok(picture.width > picture.height, `${picture.width} x ${picture.height}`);
  const black = await draw(view({ keptPatches: {}, scores: {}, frames: new Uint8Array(2 * 28 * 28 * 3) }));
  assert.is(black.width, picture.width);
  const middle = Math.round(picture.height / 2);
  assert.equal(black.pixel(panelLeft + panel / 2, middle), [0, 0, 0]);
  assert.equal(black.pixel(panelLeft + panel + 28 + panel / 2, middle), [0, 0, 0]);
});

test('text is drawn without any font: a title changes pixels above the panels', async () => {
  const words = await draw(view());
  const none = await draw(view({ title: '-' }));
  let dark = 0;
  let darkNone = 0;
  for (let y = 20; y < 60; y++) {
    for (let x = 0; x < words.width; x++) {
      if (words.pixel(x, y)[0]! < 100) dark++;
      if (none.pixel(x, y)[0]! < 100) darkNone++;
    }
  }
  assert.ok(dark > 5 * darkNone && dark > 200, `${dark} dark pixels against ${darkNone}`);
});

test('what does not fit is refused with what was expected', async () => {
  const cases: [Partial<KeptPatchesView>, RegExp][] = [
    [{ frames: new Uint8Array(5) }, /\[2, 28, 28, 3\] = 4704 bytes but received 5/],
    [{ keptPatches: { front: [4] } }, /Kept patch 4 of "front" lies outside its grid of 4/],
    [{ scores: { wrist: [1, 2] } }, /Expected 4 scores for "wrist" but received 2/],
    [{ cameras: [], frames: new Uint8Array(0) }, /at least one camera/],
  ];
  for (const [overrides, message] of cases) {
    let caught: unknown;
    try {
      await renderKeptPatches(view(overrides));
    } catch (error) {
      caught = error;
    }
    assert.instance(caught, SemanticVlaError);
    assert.match((caught as SemanticVlaError).message, message);
  }
});

test('patch scores leave masked columns out and keep the order', () => {
  // 2 patches x 3 positions, the last masked.
  const scores = patchScores(new Float32Array([0.5, 0.25, -1, -0.5, -1, -1]), 2);
  assert.equal([...scores], [0.375, -0.75]);
});

test('every printable ASCII character has strokes; accents fall back to their letter', () => {
  for (let code = 33; code < 127; code++) {
    const character = String.fromCharCode(code);
    const drawn = drawText(character, 0, 0, { size: 8, color: '#000' });
    assert.match(drawn, /d="M/, `"${character}" draws nothing`);
    assert.not.match(drawn, /M0 0H4V8H0Z/, `"${character}" draws the box of a missing glyph`);
    assert.not.match(drawn, /undefined|NaN/);
  }
  assert.is(measureText('é', 8), measureText('e', 8));
  assert.match(drawText('碗', 0, 0, { size: 8, color: '#000' }), /M0 0H4V8H0Z/);
});

test('other scripts are text in the fonts of the machine, with room of their own; marks stay on their letter', () => {
  const style = { size: 8, color: '#000', scriptFonts: true };
  const drawn = drawText('碗 <a> чашка क्षि', 0, 0, style);
  assert.not.match(drawn, /M0 0H4V8H0Z/);
  assert.match(drawn, /<text x="0\.00" [^>]*>碗<\/text>/);
  assert.is(drawn.match(/<text /g)!.length, 1 + 5 + [...new Intl.Segmenter().segment('क्षि')].length);
  assert.match(drawText('＜', 0, 0, style), /d="M/, 'a full-width sign is its ASCII one');
  assert.ok(measureText('碗', 8) > measureText('m', 8));
  const lines = wrapText('拿起黑色的碗并把它放在盘子上', 17, 120);
  assert.ok(lines.length > 1);
  assert.is(lines.join(''), '拿起黑色的碗并把它放在盘子上');
  for (const line of lines) assert.ok(measureText(line, 17) <= 120, line);
});

test('wrapping keeps every word and respects the width', () => {
  const words = 'put the red mug on the left plate and the white mug on the right plate';
  const lines = wrapText(words, 17, 300);
  assert.ok(lines.length > 1);
  assert.is(lines.join(' '), words);
  for (const line of lines) assert.ok(measureText(line, 17) <= 300, line);
});

test.run();
