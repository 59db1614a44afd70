/** What the clients of both protocols have in common: one connection, one request at a time. */

import type { WireMap } from '../serve/ndarray.ts';
import { type ErrorCode, SemanticVlaError } from '../support/errors.ts';
import type { InstructionKey } from './requestFields.ts';

/** What a server answered to one observation. */
export interface RemoteAnswer {
  /** [C, A] row-major. */
  readonly actions: Float64Array;
  readonly shape: readonly [number, number];
  /** [C, A]; null if the server does not send it. */
  readonly normalized: Float32Array | null;
  /** Milliseconds spent in the policy; null if the server does not say. */
  readonly inferMs: number | null;
}

export interface Transport {
  /** The server that would be asked now. */
  readonly url: URL;
  /**
   * Connects to the server anew at each call.
   * @returns how the server describes its policy; null if it does not
   * @throws (rejects) REMOTE_UNREACHABLE, UNAUTHORIZED, REMOTE_FAILED, or the signal's reason
   */
  connect(signal: AbortSignal): Promise<WireMap | null>;
  /**
   * @throws (rejects) REMOTE_UNREACHABLE if the connection is lost; REMOTE_CHANGED if another policy answered; REMOTE_FAILED or
   *   a code about the request if the server refused; the signal's reason
   */
  request(fields: WireMap, signal: AbortSignal): Promise<RemoteAnswer>;
  /** Called when the connection ends while no request is running. */
  onLost: ((error: SemanticVlaError) => void) | null;
  /** false if the connection has ended and `connect` must be called first. */
  readonly connected: boolean;
  close(): void;
}

export type Protocol = 'act' | 'openpi';

/** The client's end of a protocol. */
export interface OpenedTransport {
  readonly protocol: Protocol;
  /** Not connected yet. */
  readonly transport: Transport;
  /** What was asked for, without its token: the server's origin, or a fleet. For messages. */
  readonly name: string;
  readonly instructionKey: InstructionKey;
}

export interface TransportOptions {
  readonly url: URL;
  readonly token: string | undefined;
}

/** An answer larger than this cannot be actions. */
export const maxAnswerBytes = 32 * 2 ** 20;

export function unreachable(url: URL, why: string, cause?: unknown): SemanticVlaError {
  return new SemanticVlaError(
    'REMOTE_UNREACHABLE',
    `Server ${url.origin}: expected a connection, found ${why}. Hold; it is tried again.`,
    { cause },
  );
}

export function remoteFailed(server: URL | string, expected: string, found: string): SemanticVlaError {
  const name = typeof server === 'string' ? server : server.origin;
  return new SemanticVlaError('REMOTE_FAILED', `Server ${name}: expected ${expected}, found ${found}.`);
}

/** Codes of our own server that concern the request or its timing; all others become REMOTE_FAILED. */
const passedOn: ReadonlySet<string> = new Set<ErrorCode>([
  'REQUEST_INVALID',
  'REQUEST_TOO_LARGE',
  'UNAUTHORIZED',
  'OVERLOADED',
  'DRAINING',
  'OBSERVATION_INVALID',
  'CAMERA_MISSING',
  'IMAGE_INVALID',
  'IMAGE_DTYPE',
  'IMAGE_TOO_LARGE',
  'STATE_INVALID',
  'UNNORM_KEY_OTHER',
  'INSTRUCTION_INVALID',
  'INSTRUCTION_TOO_LONG',
]);

/** Turns an error reported by a server into one of ours. */
export function reported(url: URL, code: string, message: string): SemanticVlaError {
  const known = passedOn.has(code) ? (code as ErrorCode) : 'REMOTE_FAILED';
  const detail = known === code ? message : `${code}: ${message}`;
  return new SemanticVlaError(known, `Server ${url.origin}: ${detail.slice(0, 500)}`);
}

/** What an HTTP answer other than 200 says: the error in our own form, or the bare status. */
export function refusalOf(url: URL, { status, body }: { status: number; body: Buffer }): SemanticVlaError {
  try {
    const { error } = JSON.parse(body.toString()) as { error?: { code?: unknown; message?: unknown } };
    if (typeof error?.code === 'string') return reported(url, error.code, String(error.message));
  } catch {
    // Not JSON: another server, or a proxy.
  }
  return remoteFailed(url, 'an answer', `HTTP status ${status}`);
}
