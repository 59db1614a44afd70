/**
 * Colours of plots, light and dark. Each is a CSS variable with the light value as its fallback, so that one SVG adapts to the
 * page that contains it, and keeps its colours without one. The series colours are Okabe and Ito's set for colour-blind
 * readers, darkened on white and lightened on black to a contrast of at least 3:1.
 */

interface Tone {
  readonly light: string;
  readonly dark: string;
}

const tones = {
  ink: { light: '#1f2933', dark: '#e6eaee' },
  quiet: { light: '#52606d', dark: '#a9b4bf' },
  grid: { light: '#e1e5ea', dark: '#333c46' },
  axis: { light: '#7b8794', dark: '#7d8894' },
  paper: { light: '#ffffff', dark: '#171c22' },
  series1: { light: '#0072b2', dark: '#56b4e9' },
  series2: { light: '#d55e00', dark: '#ff8f4d' },
  series3: { light: '#00805e', dark: '#2fc79a' },
  series4: { light: '#b0518e', dark: '#e08fc0' },
  series5: { light: '#8a6d00', dark: '#f0d442' },
  series6: { light: '#3b3b98', dark: '#a3a3f0' },
  series7: { light: '#6b7280', dark: '#b6bcc6' },
} satisfies Readonly<Record<string, Tone>>;

export type ColorName = keyof typeof tones;

const names = Object.keys(tones) as readonly ColorName[];

export const color = Object.fromEntries(
  names.map((name) => [name, `var(--${name}, ${tones[name].light})`]),
) as Readonly<Record<ColorName, string>>;

/** Colours of subjects, blocks and modes, in order. */
export const series: readonly string[] = [1, 2, 3, 4, 5, 6, 7].map((i) => color[`series${i}` as ColorName]);

/** The CSS declarations of one scheme, for a page's rule: `--ink: #1f2933; ...`. */
export function colorVariables(scheme: keyof Tone): string {
  return names.map((name) => `--${name}: ${tones[name][scheme]};`).join(' ');
}

/** The same picture in its light colours, for readers without CSS variables, such as of a separate file. */
export function inLightColors(svg: string): string {
  return svg.replace(/var\(--\w+, (#[0-9a-f]{6})\)/g, '$1');
}
