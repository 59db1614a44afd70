/**
 * The head of `POST /act` as clients usually send it. Node's HTTP server takes longer over the head and the pieces of a body
 * than all the rest of a request takes, so this one form is read here, strictly: whatever differs in the least is no such
 * head and is left to Node. Nothing that two readers could take differently passes: one length, no other framing, each
 * header once, visible ASCII.
 */

import type { IncomingHttpHeaders } from 'node:http';

export interface ActHead {
  readonly headers: IncomingHttpHeaders;
  /** Bytes of the head, its empty line included. */
  readonly size: number;
  /** Bytes of the body, at least 1. */
  readonly bodyBytes: number;
}

const start = 'POST /act HTTP/1.1\r\n';
/** Below Node's own limit of 16 KiB. */
const maxBytes = 8 * 2 ** 10;
const maxHeaders = 64;
/** A token, a colon, and visible text without space at its ends (RFC 9110, Fields). */
const header =
  /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?)[ \t]*$/;
/** Headers that change what comes next on the connection. */
const special = new Set(['transfer-encoding', 'expect', 'upgrade', 'trailer', 'te', 'http2-settings']);

/** The same head again, as a client sends it time after time. */
export function isSameHead(bytes: Buffer, before: Buffer): boolean {
  return bytes.length >= before.length && bytes.compare(before, 0, before.length, 0, before.length) === 0;
}

/** @param bytes what a connection delivers at once; null: not this form, or not all of it */
export function readActHead(bytes: Buffer): ActHead | null {
  if (bytes.length < start.length || bytes.toString('latin1', 0, start.length) !== start) return null;
  const text = bytes.toString('latin1', start.length, Math.min(bytes.length, maxBytes));
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const headers: Record<string, string> = Object.create(null);
  let count = 0;
  for (const line of text.slice(0, end).split('\r\n')) {
    const found = header.exec(line);
    if (found === null || ++count > maxHeaders) return null;
    const name = found[1]!.toLowerCase();
    if (name in headers || special.has(name)) return null;
    headers[name] = found[2]!;
  }
  const { host, connection = 'keep-alive', 'content-length': length = '' } = headers;
  if (host === undefined || connection.toLowerCase() !== 'keep-alive') return null;
  if (!/^[1-9]\d{0,9}$/.test(length)) return null;
  return { headers, size: start.length + end + 4, bodyBytes: Number(length) };
}
