/** The head of a WebSocket frame as a client sends it (RFC 6455, section 5.2). Only read here, not judged. */

/** Two bytes, a length of eight, a key of four. */
export const longestHead = 14;

export interface FrameHead {
  /** Bytes of the head itself. */
  readonly size: number;
  /** The first byte: end of message, three reserved bits, four of the kind. */
  readonly first: number;
  readonly isMasked: boolean;
  /** The key as a little-endian number; 0 without one. */
  readonly key: number;
  /** Beyond 2^53 not exact. */
  readonly payloadBytes: number;
}

/** null: it is not all there. */
export function readFrameHead(bytes: Uint8Array): FrameHead | null {
  if (bytes.length < 2) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const second = view.getUint8(1);
  const short = second & 0x7f;
  const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
  const isMasked = second >= 0x80;
  const size = 2 + lengthBytes + (isMasked ? 4 : 0);
  if (bytes.length < size) return null;
  const payloadBytes =
    lengthBytes === 0 ? short : lengthBytes === 2 ? view.getUint16(2) : Number(view.getBigUint64(2));
  const key = isMasked ? view.getUint32(size - 4, true) : 0;
  return { size, first: view.getUint8(0), isMasked, key, payloadBytes };
}
