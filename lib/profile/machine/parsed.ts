/** What reading a text ends with: a value, or why there is none. A parser here never throws and never guesses. */

export type Parsed<T> = { readonly value: T } | { readonly malformed: string };

export function malformed(what: string, expected: string, found: string): { readonly malformed: string } {
  const shown = found.length > 60 ? `${found.slice(0, 60)}...` : found;
  return { malformed: `${what}: expected ${expected}, found ${JSON.stringify(shown)}` };
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
