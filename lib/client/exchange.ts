/** One HTTP request and its answer, on a connection that an agent keeps. Aborting it closes the connection. */

import * as http from 'node:http';
import * as https from 'node:https';
import { maxAnswerBytes, remoteFailed, unreachable } from './transport.ts';

export interface Asked {
  readonly method: 'GET' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON; null: none, and the connection is not kept. */
  readonly body: Buffer | null;
  readonly signal: AbortSignal;
}

export interface Reply {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

/** One connection to the server of this URL, kept between requests. */
export function oneConnection(url: URL): http.Agent {
  const options = { keepAlive: true, maxSockets: 1, noDelay: true };
  return url.protocol === 'https:' ? new https.Agent(options) : new http.Agent(options);
}

/** @throws (rejects) REMOTE_UNREACHABLE; REMOTE_FAILED for an answer that is too long; the signal's reason */
export async function exchange(asked: Asked, agent: http.Agent): Promise<Reply> {
  for (;;) {
    const reply = await exchangeOnce(asked, agent);
    // The server closed the keep-alive connection just as this request was sent on it: send it again on a new one.
    if (reply !== 'stale') return reply;
  }
}

function exchangeOnce(
  { method, url, headers, body, signal }: Asked,
  agent: http.Agent,
): Promise<Reply | 'stale'> {
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? https.request : http.request;
    const request = send(url, {
      method,
      agent,
      signal,
      headers: {
        ...headers,
        ...(body === null
          ? { connection: 'close' }
          : { 'content-type': 'application/json', 'content-length': body.length }),
      },
    });
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (request.reusedSocket && error.code === 'ECONNRESET' && !signal.aborted) resolve('stale');
      else reject(signal.aborted ? signal.reason : unreachable(url, error.code ?? error.message, error));
    });
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on('data', (chunk: Buffer) => {
        length += chunk.length;
        chunks.push(chunk);
        if (length <= maxAnswerBytes) return;
        reject(remoteFailed(url, `an answer of at most ${maxAnswerBytes} bytes`, 'more'));
        request.destroy();
      });
      response.on('error', (error) =>
        reject(signal.aborted ? signal.reason : unreachable(url, error.message, error)),
      );
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks),
        }),
      );
    });
    request.end(body ?? undefined);
  });
}
