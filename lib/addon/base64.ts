/** Base64 of a request, decoded over its own characters: no second copy of a body, and no garbage. */

import { loadAddon } from './binding.ts';

/** Of a text of a multiple of 4 characters. Bytes written; -1: not base64. The text is gone either way. */
export type DecodeOverItself = (text: Buffer) => number;

/** A multiple of 4, so that every piece decodes by itself; pieces of this size are young garbage. */
const pieceBytes = 16 * 2 ** 10;

const equals = 0x3d;

/** Node decodes base64 only from text, and passes over characters that are none of base64's: too few bytes come out then. */
export function decodeByNode(text: Buffer): number {
  const padding = text.at(-1) !== equals ? 0 : text.at(-2) !== equals ? 1 : 2;
  const wanted = (text.length / 4) * 3 - padding;
  let written = 0;
  for (let at = 0; at < text.length; at += pieceBytes) {
    const piece = text.toString('latin1', at, Math.min(at + pieceBytes, text.length));
    written += text.write(piece, written, 'base64');
  }
  return written === wanted ? written : -1;
}

let chosen: DecodeOverItself | undefined;

/**
 * The faster of two that agree: the addon's where it is built and has instructions for it (x64: a fifth of the time), Node's
 * elsewhere, such as on a robot that only asks a server.
 */
export function decodeBase64(text: Buffer): number {
  chosen ??= choose();
  return chosen(text);
}

function choose(): DecodeOverItself {
  if (process.arch !== 'x64') return decodeByNode;
  try {
    const addon = loadAddon();
    return (text) => addon.decodeBase64(text);
  } catch {
    return decodeByNode;
  }
}
