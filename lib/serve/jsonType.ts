/** The type of bodies of `POST /act`. */

export const jsonType = 'application/json';

/** A missing type is JSON: some clients set none. */
export function isJsonType(type: string | undefined): boolean {
  return type === undefined || /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(type);
}
