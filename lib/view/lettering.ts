/**
 * Text as SVG strokes. A machine with only Node installed has no fonts, and SVG `<text>` draws nothing there; these letters are
 * paths, so the picture is the same everywhere. They cover printable ASCII; accented letters fall back to the base letter.
 * Other scripts are drawn as SVG `<text>` in the machine's fonts if it has any (`scriptFonts`), else as hollow boxes.
 */

/** One glyph: advance width without spacing, and its strokes. y points down: 0 = top of capitals, 3 = x-height, 8 = baseline. */
type Glyph = readonly [width: number, strokes: string];

const bowl = 'M0 5.5A2 2.5 0 1 1 4 5.5A2 2.5 0 1 1 0 5.5';
const missing: Glyph = [4, 'M0 0H4V8H0Z'];
const dot = (x: number, y: number): string => `M${x} ${y}V${y + 0.1}`;

const glyphs: Readonly<Record<string, Glyph>> = {
  ' ': [2.6, ''],
  a: [4, `${bowl}M4 3V8`],
  b: [4, `${bowl}M0 0V8`],
  c: [3.6, 'M3.6 3.9A2 2.5 0 1 0 3.6 7.1'],
  d: [4, `${bowl}M4 0V8`],
  e: [4, 'M0 5.5H4A2 2.5 0 1 0 3.4 7.3'],
  f: [2.8, 'M3 0H2.6A1.4 1.6 0 0 0 1.2 1.6V8M0 3H2.8'],
  g: [4, `${bowl}M4 3V9A2 2 0 0 1 0.3 9.9`],
  h: [4, 'M0 0V8M0 5A2 2 0 0 1 4 5V8'],
  i: [1, `M0.5 3V8${dot(0.5, 0.8)}`],
  j: [1.6, `M1.5 3V9.5A1.5 1.5 0 0 1 0 11${dot(1.5, 0.8)}`],
  k: [3.8, 'M0 0V8M3.6 3L0 6.2M1.4 5L3.8 8'],
  l: [1, 'M0.5 0V8'],
  m: [6.4, 'M0 3V8M0 4.7A1.6 1.7 0 0 1 3.2 4.7V8M3.2 4.7A1.6 1.7 0 0 1 6.4 4.7V8'],
  n: [4, 'M0 3V8M0 5A2 2 0 0 1 4 5V8'],
  o: [4, bowl],
  p: [4, `${bowl}M0 3V11`],
  q: [4, `${bowl}M4 3V11`],
  r: [2.6, 'M0 3V8M0 5A2 2 0 0 1 2.6 3.2'],
  s: [3.5, 'M3.3 3.8C2.6 2.8 0.2 2.7 0.2 4.3C0.2 5.9 3.5 5.1 3.5 6.7C3.5 8.4 0.8 8.4 0 7.1'],
  t: [2.8, 'M1.2 1V6.6A1.4 1.4 0 0 0 2.6 8H3M0 3H2.8'],
  u: [4, 'M0 3V6A2 2 0 0 0 4 6M4 3V8'],
  v: [4, 'M0 3L2 8L4 3'],
  w: [6, 'M0 3L1.5 8L3 3L4.5 8L6 3'],
  x: [3.8, 'M0 3L3.8 8M3.8 3L0 8'],
  y: [4, 'M0 3L2 8M4 3L1.4 9.7A2 2 0 0 1 0 11'],
  z: [3.6, 'M0 3H3.6L0 8H3.6'],
  A: [5.4, 'M0 8L2.7 0L5.4 8M0.9 5.3H4.5'],
  B: [4.9, 'M0 0V8H2.8A2.1 2.1 0 0 0 2.8 3.8H0M0 0H2.5A1.9 1.9 0 0 1 2.5 3.8'],
  C: [5, 'M5 1.1A3 4 0 1 0 5 6.9'],
  D: [5.4, 'M0 0V8H1.8A3.6 4 0 0 0 1.8 0Z'],
  E: [4.4, 'M4.4 0H0V8H4.4M0 3.8H3.8'],
  F: [4.2, 'M4.4 0H0V8M0 3.8H3.8'],
  G: [5.8, 'M5.2 1.2A3 4 0 1 0 5.8 5V4.4H3.4'],
  H: [5, 'M0 0V8M5 0V8M0 3.9H5'],
  I: [1, 'M0.5 0V8'],
  J: [3.4, 'M3.4 0V5.8A1.8 2.2 0 0 1 0 6.4'],
  K: [5, 'M0 0V8M4.8 0L0 4.8M1.8 3.1L5 8'],
  L: [4.2, 'M0 0V8H4.2'],
  M: [6, 'M0 8V0L3 5.4L6 0V8'],
  N: [5, 'M0 8V0L5 8V0'],
  O: [6, 'M0 4A3 4 0 1 1 6 4A3 4 0 1 1 0 4'],
  P: [4.9, 'M0 8V0H2.7A2.2 2.2 0 0 1 2.7 4.4H0'],
  Q: [6, 'M0 4A3 4 0 1 1 6 4A3 4 0 1 1 0 4M3.8 6L6 8.6'],
  R: [5, 'M0 8V0H2.7A2.2 2.2 0 0 1 2.7 4.4H0M2.6 4.4L5 8'],
  S: [4.9, 'M4.6 1.4C3.7 -0.5 0.3 -0.4 0.3 2C0.3 4.5 4.9 3.5 4.9 6C4.9 8.5 1 8.6 0 6.5'],
  T: [5, 'M0 0H5M2.5 0V8'],
  U: [5, 'M0 0V5.4A2.5 2.6 0 0 0 5 5.4V0'],
  V: [5.4, 'M0 0L2.7 8L5.4 0'],
  W: [7.6, 'M0 0L1.9 8L3.8 0L5.7 8L7.6 0'],
  X: [4.8, 'M0 0L4.8 8M4.8 0L0 8'],
  Y: [5, 'M0 0L2.5 3.8L5 0M2.5 3.8V8'],
  Z: [5, 'M0.2 0H4.8L0 8H5'],
  0: [4.4, 'M0 4A2.2 4 0 1 1 4.4 4A2.2 4 0 1 1 0 4'],
  1: [4.4, 'M0.9 1.7L2.7 0V8'],
  2: [4.4, 'M0.2 2.3A2 2.2 0 1 1 3.8 3.4L0.1 8H4.4'],
  3: [4.4, 'M0.4 1.3A1.95 1.9 0 1 1 2.1 3.8H1.6M2.1 3.8A2.1 2.1 0 1 1 0.1 6.6'],
  4: [4.4, 'M3.3 8V0L0 5.6H4.4'],
  5: [4.4, 'M3.9 0H0.7L0.4 3.7A2.3 2.5 0 1 1 0.1 6.8'],
  6: [4.4, 'M3.6 0C1.4 1 0 3 0 5.5A2.2 2.5 0 1 1 4.4 5.5A2.2 2.5 0 1 1 0 5.5'],
  7: [4.4, 'M0 0H4.4L1.5 8'],
  8: [
    4.4,
    'M0.4 1.9A1.8 1.9 0 1 1 4 1.9A1.8 1.9 0 1 1 0.4 1.9M0 5.9A2.2 2.1 0 1 1 4.4 5.9A2.2 2.1 0 1 1 0 5.9',
  ],
  9: [4.4, 'M0.8 8C3 7 4.4 5 4.4 2.5A2.2 2.5 0 1 0 0 2.5A2.2 2.5 0 1 0 4.4 2.5'],
  '.': [0.8, dot(0.4, 7.9)],
  ',': [0.8, 'M0.6 7.6L0.2 9.2'],
  ':': [0.8, dot(0.4, 4) + dot(0.4, 7.9)],
  ';': [0.8, `${dot(0.5, 4)}M0.6 7.6L0.2 9.2`],
  '!': [0.8, `M0.4 0V5.4${dot(0.4, 7.9)}`],
  '?': [3.8, `M0.1 1.8A1.85 1.8 0 1 1 2.8 3.4Q1.9 4 1.9 5.4${dot(1.9, 7.9)}`],
  "'": [0.8, 'M0.4 0V2'],
  '"': [2.4, 'M0.4 0V2M2 0V2'],
  '`': [1.4, 'M0 0L1.2 1.5'],
  '(': [1.8, 'M1.8 -0.6A5.5 5.8 0 0 0 1.8 9.6'],
  ')': [1.8, 'M0 -0.6A5.5 5.8 0 0 1 0 9.6'],
  '[': [1.6, 'M1.6 -0.5H0V9.5H1.6'],
  ']': [1.6, 'M0 -0.5H1.6V9.5H0'],
  '{': [2.2, 'M2.2 -0.5Q1.1 -0.5 1.1 1V3Q1.1 4.5 0 4.5Q1.1 4.5 1.1 6V8Q1.1 9.5 2.2 9.5'],
  '}': [2.2, 'M0 -0.5Q1.1 -0.5 1.1 1V3Q1.1 4.5 2.2 4.5Q1.1 4.5 1.1 6V8Q1.1 9.5 0 9.5'],
  '/': [3.2, 'M3.2 -0.4L0 9'],
  '\\': [3.2, 'M0 -0.4L3.2 9'],
  '|': [0.8, 'M0.4 -0.6V9.6'],
  '-': [3, 'M0 5H3'],
  _: [4.4, 'M0 9H4.4'],
  '+': [4.2, 'M2.1 2.6V7M0 4.8H4.2'],
  '=': [4.2, 'M0 3.8H4.2M0 5.8H4.2'],
  '<': [3.8, 'M3.8 2.4L0 4.9L3.8 7.4'],
  '>': [3.8, 'M0 2.4L3.8 4.9L0 7.4'],
  '*': [3.2, 'M1.6 0V3.6M0 0.9L3.2 2.7M3.2 0.9L0 2.7'],
  '#': [5, 'M1.6 0L0.8 8M4.2 0L3.4 8M0.4 2.6H5M0 5.4H4.6'],
  $: [4.4, 'M4.2 1.9C3.4 0.4 0.3 0.5 0.3 2.3C0.3 4.5 4.4 3.5 4.4 5.7C4.4 7.6 1 7.7 0 6.1M2.3 -0.8V8.8'],
  '%': [
    6.2,
    'M0 2A1.3 1.8 0 1 1 2.6 2A1.3 1.8 0 1 1 0 2M3.6 6A1.3 1.8 0 1 1 6.2 6A1.3 1.8 0 1 1 3.6 6M5 0L1.2 8',
  ],
  '&': [
    5.2,
    'M5.2 8L1.2 3C-0.2 1 1.2 0 2.2 0C3.6 0 4 1.8 2.6 2.9L1.2 4C-1 5.8 0.4 8 2.2 8C3.8 8 5 6.6 5 4.6',
  ],
  '@': [6.6, 'M4.7 4A1.4 1.7 0 1 0 4.7 4.2M4.8 2.6V4.8Q5 6 5.8 5.6Q6.6 5 6.6 4A3.3 4 0 1 0 5.2 7.5'],
  '^': [3.6, 'M0 3L1.8 0L3.6 3'],
  '~': [4.2, 'M0 5.4Q1 3.6 2.1 4.8Q3.2 6 4.2 4.2'],
};

/** Space between glyphs, in glyph units; includes the width of the stroke. */
const spacing = 1.5;

/** A letter of a script that has no glyphs here, with a typical width; combining marks stay with their base letter. */
interface Foreign {
  readonly text: string;
  readonly width: number;
}

/** Chinese, Japanese, Korean and emoji are one em wide: 11 units, where capitals are 8 high. */
const wide =
  /^[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const em = 11;

function lettersOf(text: string): (Glyph | Foreign)[] {
  const segments = new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(text);
  return [...segments].flatMap(({ segment }): (Glyph | Foreign)[] => {
    const plain = [...segment.normalize('NFKD').replace(/\p{Mark}/gu, '')];
    if (plain.length > 0 && plain.every((letter) => Object.hasOwn(glyphs, letter)))
      return plain.map((letter) => glyphs[letter]!);
    return [{ text: segment, width: wide.test(segment) ? em - spacing : 6 }];
  });
}

const isForeign = (letter: Glyph | Foreign): letter is Foreign => 'text' in letter;

/** Whether a line contains letters that only a font can draw. */
export const needsFont = (text: string): boolean => lettersOf(text).some(isForeign);

/** Width in pixels of `text` with capitals `size` pixels high. */
export function measureText(text: string, size: number): number {
  const units = lettersOf(text).reduce(
    (sum, letter) => sum + (isForeign(letter) ? letter.width : letter[0]) + spacing,
    -spacing,
  );
  return Math.max(0, units) * (size / 8);
}

export interface TextStyle {
  /** Height of a capital letter, pixels. */
  readonly size: number;
  readonly color: string;
  readonly bold?: boolean;
  /** Draw other scripts in the machine's fonts instead of as boxes; default false. */
  readonly scriptFonts?: boolean;
}

/** SVG of one line of text whose capitals have their top left corner at (x, y). */
export function drawText(text: string, x: number, y: number, style: TextStyle): string {
  let advance = 0;
  let strokes = '';
  for (const letter of lettersOf(text)) {
    if (isForeign(letter) && style.scriptFonts) {
      strokes +=
        `<text x="${advance.toFixed(2)}" y="8" font-family="sans-serif" font-size="${em}" stroke="none" ` +
        `fill="${style.color}"${style.bold ? ' font-weight="bold"' : ''}>${escaped(letter.text)}</text>`;
      advance += letter.width + spacing;
      continue;
    }
    const path = isForeign(letter) ? missing[1] : letter[1];
    if (path !== '') strokes += `<path transform="translate(${advance.toFixed(2)} 0)" d="${path}"/>`;
    advance += (isForeign(letter) ? letter.width : letter[0]) + spacing;
  }
  const weight = style.bold ? 1.45 : 1;
  const transform = `translate(${x} ${y}) scale(${style.size / 8})`;
  return (
    `<g transform="${transform}" fill="none" stroke="${style.color}" stroke-width="${weight}" ` +
    `stroke-linecap="round" stroke-linejoin="round">${strokes}</g>`
  );
}

const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);

/** In scripts written without spaces, a line may end after any letter. */
const breakable = /(?<=[\u2e80-\ua4cf\uff00-\uff60])/u;

/**
 * Breaks `text` into lines no wider than `width` pixels, at spaces or, in scripts without spaces, between letters; a longer
 * word gets a line of its own.
 */
export function wrapText(text: string, size: number, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  const words = text.split(/\s+/).filter((part) => part !== '');
  const parts = words.flatMap((word) =>
    word.split(breakable).map((part, i) => (i === 0 ? ` ${part}` : part)),
  );
  for (const part of parts) {
    const word = part.trimStart();
    const longer = line === '' ? word : `${line}${part}`;
    if (line !== '' && measureText(longer, size) > width) {
      lines.push(line);
      line = word;
    } else {
      line = longer;
    }
  }
  if (line !== '') lines.push(line);
  return lines;
}
