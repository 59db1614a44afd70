/** The body of a request of Node's HTTP server. */

import type { IncomingMessage } from 'node:http';
import type { Body, BodyPool } from './bodyPool.ts';
import { ClientGone } from './clientGone.ts';

/**
 * @returns to be released by the caller
 * @throws (rejects) REQUEST_TOO_LARGE, OVERLOADED, or ClientGone
 */
export async function readHttpBody(request: IncomingMessage, pool: BodyPool): Promise<Body> {
  const claimed = request.headers['content-length'];
  const body = pool.begin(claimed === undefined ? null : Number(claimed));
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
    };
    const fail = (error: unknown): void => {
      stop();
      body.release();
      // What is still to come is dropped as it comes, so that the client gets to read its answer.
      request.on('error', () => {}).resume();
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      try {
        body.append(chunk);
      } catch (error) {
        fail(error);
      }
    };
    const onEnd = (): void => {
      stop();
      resolve(body);
    };
    const onGone = (): void => fail(new ClientGone());
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
  });
}
