/**
 * The fields of a request, decoded on access. Fields that nobody reads stay undecoded: a client may send more than the policy
 * reads, such as NumPy texts or an image in its own format.
 */

import type { WireValue } from './ndarray.ts';

/** Most names listed in a message. */
const mostNames = 20;
const longestName = 40;

/** How a format nests fields: `inside` returns null for values without fields, including arrays. */
export interface FieldFormat<Raw> {
  inside(value: Raw): ReadonlyMap<string, Raw> | null;
  decode(value: Raw): WireValue;
}

export interface WireFields {
  /**
   * The value of `key` or, for `a/b` if there is no such key, of `b` inside `a`; undefined if there is none or it is null.
   * @throws REQUEST_INVALID if it cannot be decoded
   */
  find(key: string): WireValue | undefined;
  /** The names of all fields, for a message. */
  names(): string;
}

/** @param fields undecoded */
export function wireFields<Raw>(fields: ReadonlyMap<string, Raw>, format: FieldFormat<Raw>): WireFields {
  // Decoding may overwrite its input, so each field is decoded once.
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
