/**
 * The fields of a request, decoded when they are asked for. What nobody asks for is left as it is: a client may send more
 * than the policy reads, such as texts of NumPy or a picture in a form of its own.
 */

import type { WireValue } from './ndarray.ts';

/** Names that a message lists. */
const mostNames = 20;
const longestName = 40;

/** How a format writes fields inside of fields: null for what has none, an array among it. */
export interface FieldFormat<Raw> {
  inside(value: Raw): ReadonlyMap<string, Raw> | null;
  decode(value: Raw): WireValue;
}

export interface WireFields {
  /**
   * Of `key`, or for `a/b`, where there is no such key, of `b` inside of `a`; undefined where there is none, or null.
   * @throws REQUEST_INVALID it cannot be decoded
   */
  find(key: string): WireValue | undefined;
  /** What there is, for a message. */
  names(): string;
}

/** @param fields as they came */
export function wireFields<Raw>(fields: ReadonlyMap<string, Raw>, format: FieldFormat<Raw>): WireFields {
  // Decoding may write over what it reads, so it is done once.
  const decoded = new Map<string, WireValue | undefined>();
  const raw = (from: ReadonlyMap<string, Raw>, key: string): Raw | undefined => {
    const own = from.get(key);
    if (own !== undefined) return own;
    const slash = key.indexOf('/');
    if (slash < 0) return undefined;
    const outer = from.get(key.slice(0, slash));
    const inside = outer === undefined ? null : format.inside(outer);
    return inside === null ? undefined : raw(inside, key.slice(slash + 1));
  };
  return {
    find(key) {
      if (decoded.has(key)) return decoded.get(key);
      const found = raw(fields, key);
      const value = found === undefined ? undefined : (format.decode(found) ?? undefined);
      decoded.set(key, value);
      return value;
    },
    names() {
      const names = [...fields].flatMap(([key, value]) => {
        const inside = [...(format.inside(value) ?? [])];
        return inside.length === 0 ? [key] : inside.map(([name]) => `${key}/${name}`);
      });
      if (names.length === 0) return 'no fields';
      const shown = names.slice(0, mostNames).map(shownName);
      return shown.join(', ') + (names.length > mostNames ? ` and ${names.length - mostNames} more` : '');
    },
  };
}

function shownName(name: string): string {
  const short = name.length > longestName ? `${name.slice(0, longestName)}...` : name;
  return /^[\w./-]+$/.test(short) ? short : JSON.stringify(short);
}
