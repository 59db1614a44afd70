/** Bytes that are no HTTP, heads too large, requests too slow: there is no request to answer, only a socket. */

import type { Socket } from 'node:net';
import { type Failure, failureBody } from './failure.ts';
import { jsonType } from './jsonType.ts';

/** How often Node looks for connections past their time. Its default of 30 s would make every timeout below it a lie. */
export const timeoutCheckMs = 500;

type Broken = readonly [status: number, text: string, code: Failure['code']];

export const requestTimeout: Broken = [408, 'Request Timeout', 'TIMEOUT'];

const byNodeCode: Readonly<Record<string, Broken>> = {
  ERR_HTTP_REQUEST_TIMEOUT: requestTimeout,
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large', 'REQUEST_TOO_LARGE'],
};

/** For `clientError` of Node's HTTP server. */
export function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy();
  else
    endWith(socket, ...(byNodeCode[error.code ?? ''] ?? ([400, 'Bad Request', 'REQUEST_INVALID'] as const)));
}

/** Answers and closes. */
export function endWith(socket: Socket, ...[status, text, code]: Broken): void {
  const body = failureBody({ code, message: text });
  socket.end(
    `HTTP/1.1 ${status} ${text}\r\ncontent-type: ${jsonType}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
      `connection: close\r\n\r\n${body}`,
  );
  // A peer that neither reads nor closes would keep the socket.
  socket.setTimeout(timeoutCheckMs, () => socket.destroy());
}
