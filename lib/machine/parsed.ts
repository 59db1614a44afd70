/** The result of parsing a text: a value, or why there is none. The parsers in this folder never throw and never guess. */

export type Parsed<T> = { readonly value: T } | { readonly malformed: string };

export function malformed(what: string, expected: string, found: string): { readonly malformed: string } {
  const shown = found.length > 60 ? `${found.slice(0, 60)}...` : found;
  return { malformed: `${what}: expected ${expected}, found ${JSON.stringify(shown)}` };
}

/**
 * Texts that are not known here or could not be parsed. Those that differ only in their numbers are kept once, since a tool repeats its words in
 * every line; at most eight are kept: more would be the output of some other tool.
 */
export class UnreadText {
  readonly #texts = new Map<string, string>();

  add(text: string): void {
    const words = text.replace(/\d+/g, '#');
    if (this.#texts.size < 8 && !this.#texts.has(words)) this.#texts.set(words, text);
  }

  /** The value, or null; the reason why there is none is kept. */
  valueIn<T>(parsed: Parsed<T> | null): T | null {
    if (parsed === null || 'value' in parsed) return parsed?.value ?? null;
    this.add(parsed.malformed);
    return null;
  }

  get texts(): readonly string[] {
    return [...this.#texts.values()];
  }
}

/** The number if the whole text is one decimal number; null for everything else (`[N/A]`, ``, `1e`). */
export function wholeNumberText(text: string | null | undefined): number | null {
  const trimmed = text?.trim() ?? '';
  return /^-?\d+(\.\d+)?$/.test(trimmed) ? Number(trimmed) : null;
}
