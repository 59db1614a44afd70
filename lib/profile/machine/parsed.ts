/** What reading a text ends with: a value, or why there is none. A parser here never throws and never guesses. */

export type Parsed<T> = { readonly value: T } | { readonly malformed: string };

export function malformed(what: string, expected: string, found: string): { readonly malformed: string } {
  const shown = found.length > 60 ? `${found.slice(0, 60)}...` : found;
  return { malformed: `${what}: expected ${expected}, found ${JSON.stringify(shown)}` };
}

/**
 * Of texts that differ only in their figures one is kept, since a sensor prints its words again with every line. At most
 * eight: more is another tool's output.
 */
export class UnreadText {
  readonly #texts = new Map<string, string>();

  add(text: string): void {
    const words = text.replace(/\d+/g, '#');
    if (this.#texts.size < 8 && !this.#texts.has(words)) this.#texts.set(words, text);
  }

  /** The value; null where there is none, and then why is kept if there was a text at all. */
  valueIn<T>(parsed: Parsed<T> | null): T | null {
    if (parsed !== null && 'malformed' in parsed) this.add(parsed.malformed);
    return valueIn(parsed);
  }

  get texts(): readonly string[] {
    return [...this.#texts.values()];
  }
}

/** The value, or null where there is no text or it is malformed. */
export function valueIn<T>(parsed: Parsed<T> | null): T | null {
  return parsed !== null && 'value' in parsed ? parsed.value : null;
}

/** A decimal number that is the whole text; null for everything else (`[N/A]`, ``, `1e`). */
export function wholeNumberText(text: string | null): number | null {
  const trimmed = text?.trim() ?? '';
  return /^-?\d+(\.\d+)?$/.test(trimmed) ? Number(trimmed) : null;
}
