/** The body of a request of Node's HTTP server. */

import type { IncomingMessage } from 'node:http';
import type { Body, BodyPool } from './bodyPool.ts';
import { ClientGone } from './clientGone.ts';

/**
 * @param onRevoked called when the body must give way to others after it has arrived; before, this rejects
 * @returns the body, which the caller must release
 * @throws (rejects) REQUEST_TOO_LARGE, OVERLOADED, or ClientGone
 */
export async function readHttpBody(
  request: IncomingMessage,
  pool: BodyPool,
  onRevoked: (error: unknown) => void,
): Promise<Body> {
  const claimed = request.headers['content-length'];
  let revoke = onRevoked;
  const body = pool.begin(claimed === undefined ? null : Number(claimed), (error) => revoke(error));
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      revoke = onRevoked;
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
    };
    const fail = (error: unknown): void => {
      stop();
      body.release();
      // The rest is dropped as it arrives, so that the client gets to read its answer.
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
      body.lease.arrived();
      resolve(body);
    };
    const onGone = (): void => fail(new ClientGone());
    revoke = fail;
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
  });
}
