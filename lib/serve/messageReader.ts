/**
 * What a WebSocket client sends, split in two: messages of the one form that robots send, a single masked binary frame, are
 * read straight into their memory and unmasked there, piece by piece as they come. All else, every faulty frame among it,
 * goes to `ws` as it is: the protocol's rules stay in one place. `ws` takes the pieces that Node reads, joins them and
 * unmasks byte by byte, which for two camera images takes longer than all else that a request needs.
 */

import { xorMask } from '../support/xorMask.ts';
import type { Body, BodyPool } from './bodyPool.ts';
import type { DirectReader } from './directSocket.ts';
import { type FrameHead, longestHead, readFrameHead } from './frameHead.ts';

export interface MessageTarget {
  /** Whether messages may be taken at the moment; otherwise all goes to `other`. */
  readonly isOpen: boolean;
  /** A whole message. @param body the target's, to be released */
  message(body: Body): void;
  /** A message that there is no memory for; its bytes are dropped. */
  refused(error: unknown): void;
  /** Bytes of frames of another form. @param bytes the target's to keep */
  other(bytes: Buffer): void;
}

export interface MessageReaderOptions {
  readonly bodies: BodyPool;
  /** Longest message that is taken. */
  readonly bodyBytes: number;
  /** For heads, and shared: what is read into it is taken out of it at once. */
  readonly scratch: Buffer;
}

/** The end of a message, no extension, binary. */
const wholeBinary = 0x82;
const final = 0x80;
const control = 0x08;

/** The frame under way. */
interface Frame {
  /** `taken`: into `body`, or nowhere when that is null; `other`: to the target. */
  readonly kind: 'taken' | 'other';
  body: Body | null;
  readonly key: number;
  /** Bytes still to come. */
  missing: number;
}

export class MessageReader implements DirectReader {
  readonly #options: MessageReaderOptions;
  readonly #target: MessageTarget;
  /** null: a head is next. */
  #frame: Frame | null = null;
  /** The beginning of a head whose rest is still to come. */
  #begun: Buffer | null = null;
  /** Between the first and the last frame of a message of several. */
  #inPieces = false;
  /** Whose memory is being read into; null: `scratch`. */
  #room: Body | null = null;

  constructor(options: MessageReaderOptions, target: MessageTarget) {
    this.#options = options;
    this.#target = target;
  }

  room(): Buffer {
    this.#room = this.#frame?.body ?? null;
    return this.#room?.room() ?? this.#options.scratch;
  }

  received(bytes: number): void {
    const frame = this.#frame;
    if (frame !== null && this.#room !== null) this.#count(frame, bytes, (body) => body.arrived(bytes));
    else this.take(this.#options.scratch.subarray(0, bytes));
  }

  /** What came before this could read. @param bytes only looked at */
  take(bytes: Buffer): void {
    let rest = bytes;
    while (rest.length > 0) rest = this.#frame === null ? this.#begin(rest) : this.#go(this.#frame, rest);
  }

  /** The connection has ended. @returns whether a message was on its way */
  end(): boolean {
    const body = this.#frame?.body ?? null;
    this.#frame = null;
    body?.release();
    return body !== null;
  }

  /** @returns what is behind the head */
  #begin(bytes: Buffer): Buffer {
    const known = this.#begun?.length ?? 0;
    const seen = this.#begun === null ? bytes : Buffer.concat([this.#begun, bytes.subarray(0, longestHead)]);
    const head = readFrameHead(seen);
    if (head === null) {
      this.#begun = Buffer.from(seen);
      return bytes.subarray(bytes.length);
    }
    this.#begun = null;
    const { key, payloadBytes: missing } = head;
    if (this.#isTaken(head)) {
      const body = this.#options.bodies.begin(missing);
      this.#frame = { kind: 'taken', body, key, missing };
    } else {
      if ((head.first & control) === 0) this.#inPieces = (head.first & final) === 0;
      if (missing > 0) this.#frame = { kind: 'other', body: null, key, missing };
      this.#target.other(Buffer.from(seen.subarray(0, head.size)));
    }
    return bytes.subarray(head.size - known);
  }

  /** @returns what is behind the frame */
  #go(frame: Frame, bytes: Buffer): Buffer {
    const own = bytes.subarray(0, frame.missing);
    if (frame.kind === 'taken') this.#count(frame, own.length, (body) => body.append(own));
    else {
      frame.missing -= own.length;
      if (frame.missing === 0) this.#frame = null;
      this.#target.other(Buffer.from(own));
    }
    return bytes.subarray(own.length);
  }

  /** @param add takes the next `bytes` of the frame into its body */
  #count(frame: Frame, bytes: number, add: (body: Body) => void): void {
    frame.missing -= bytes;
    const { body } = frame;
    if (body !== null) {
      const place = body.length;
      try {
        add(body);
      } catch (error) {
        body.release();
        frame.body = null;
        this.#target.refused(error);
      }
      if (frame.body !== null) xorMask(body.bytes().subarray(place), frame.key, place);
    }
    if (frame.missing > 0) return;
    this.#frame = null;
    if (frame.body !== null) this.#target.message(frame.body);
  }

  #isTaken({ first, isMasked, payloadBytes }: FrameHead): boolean {
    const isWhole = first === wholeBinary && isMasked && !this.#inPieces;
    const isFitting = payloadBytes > 0 && payloadBytes <= this.#options.bodyBytes;
    return isWhole && isFitting && this.#target.isOpen;
  }
}
