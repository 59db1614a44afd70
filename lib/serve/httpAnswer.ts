/** An HTTP answer, written to a response or, if there is none, to a bare socket. */

import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { type Failure, failureBody } from './failure.ts';
import { jsonType } from './jsonType.ts';
import { timeoutCheckMs } from './limits.ts';

/** Names the policy that answered, so that a client needs no second request to know. */
export const policyHeader = 'x-semanticvla-policy';

export interface HttpAnswer {
  readonly status: number;
  /** Besides content type and length. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: JSON. */
  readonly type?: string;
  readonly text: string | Uint8Array;
}

export function failureAnswer(failure: Failure): HttpAnswer {
  const headers: Record<string, string> = {};
  if (failure.status === 503) headers['retry-after'] = '1';
  if (failure.status === 401) headers['www-authenticate'] = 'Bearer';
  return { status: failure.status, headers, text: failureBody(failure) };
}

function allHeaders({ headers, type = jsonType, text }: HttpAnswer): Record<string, string | number> {
  return { ...headers, 'content-type': type, 'content-length': Buffer.byteLength(text) };
}

export function send(response: ServerResponse, answer: HttpAnswer, isLast: boolean): void {
  const headers = allHeaders(answer);
  if (isLast) headers.connection = 'close';
  response.writeHead(answer.status, headers).end(answer.text);
}

/** Answers and closes. Further input is discarded, so that a client that is still sending can read the answer. */
export function endWith(socket: Socket, answer: HttpAnswer): void {
  const { status, text } = answer;
  const lines = Object.entries(allHeaders(answer)).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}connection: close\r\n\r\n${text}`,
  );
  linger(socket);
}

/** Gives the peer time to close; one that neither reads nor closes would hold the socket. */
export function linger(socket: Socket): void {
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), timeoutCheckMs);
  socket.once('close', () => clearTimeout(timer));
}
