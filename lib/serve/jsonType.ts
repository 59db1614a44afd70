/** The content type of `POST /act`. */

import type { IncomingHttpHeaders } from 'node:http';

export const jsonType = 'application/json';

/** Why a body is refused; null if it is JSON in UTF-8 without a content encoding. */
export function typeFault(headers: IncomingHttpHeaders): string | null {
  const type = headers['content-type'];
  const [, charset] = /^application\/(?:[\w.+-]+\+)?json\s*(?:;(.*))?$/i.exec(type ?? '') ?? [null, null];
  if (charset === null) {
    const found = type === undefined ? 'none' : JSON.stringify(type.slice(0, 60));
    return `Expected the header content-type: ${jsonType}, found ${found}.`;
  }
  if (charset !== undefined && /charset/i.test(charset) && !/charset\s*=\s*"?utf-?8"?/i.test(charset))
    return `Expected charset=utf-8, found ${JSON.stringify(charset.trim().slice(0, 60))}.`;
  return codingFault(headers);
}

/** Why a body is refused; null if it comes as it is. */
export function codingFault({ 'content-encoding': coding = 'identity' }: IncomingHttpHeaders): string | null {
  if (coding.toLowerCase() === 'identity') return null;
  return `Expected a body as it is, found content-encoding ${JSON.stringify(coding.slice(0, 20))}.`;
}
