/** The body of an HTTP request into one buffer, within the limits. Only what has arrived is counted, and only that is memory. */

import type { IncomingMessage } from 'node:http';
import { SemanticVlaError } from '../errors.ts';
import { invalidRequest } from './ndarray.ts';
import type { PolicyService } from './policyService.ts';

/** Of a body without a length; and the largest buffer that is kept for the next request. */
const firstBytes = 2 ** 20;

/** The client went away while it sent. */
export class UploadAborted extends Error {}

export interface HeldBody {
  readonly bytes: Buffer;
  /** To be called once, when nothing needs the bytes any more: they are another request's then. */
  release(): void;
}

/**
 * @throws (rejects) REQUEST_TOO_LARGE, REQUEST_INVALID, OVERLOADED, or UploadAborted
 */
export function readBody(request: IncomingMessage, service: PolicyService): Promise<HeldBody> {
  const { bodyBytes } = service.limits;
  const claimed = request.headers['content-length'];
  const declared = claimed === undefined ? null : Number(claimed);
  if (declared !== null && declared > bodyBytes) return Promise.reject(tooLarge(bodyBytes));
  return new Promise((resolve, reject) => {
    let buffer = takeSpare(service, declared ?? 0);
    let length = 0;
    const stop = (): void => {
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
    };
    const fail = (error: unknown): void => {
      stop();
      service.release(length);
      giveBack(buffer, service);
      // What is still to come is dropped as it comes, so that the client gets to read its answer.
      request.on('error', () => {}).resume();
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      try {
        if (length + chunk.length > bodyBytes) throw tooLarge(bodyBytes);
        service.hold(chunk.length);
      } catch (error) {
        fail(error);
        return;
      }
      buffer = withRoom(buffer, length, length + chunk.length, declared ?? bodyBytes);
      length += chunk.copy(buffer, length);
    };
    const onEnd = (): void => {
      stop();
      if (length === 0) {
        reject(invalidRequest('a JSON body', 'none'));
        return;
      }
      const held = length;
      const release = (): void => {
        service.release(held);
        giveBack(buffer, service);
      };
      resolve({ bytes: buffer.subarray(0, length), release });
    };
    const onGone = (): void => fail(new UploadAborted());
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
  });
}

/**
 * The buffer of an earlier request, if one is free and large enough. Fresh memory costs more than all the reading of JSON:
 * the kernel hands it out page by page, at the first touch.
 */
function takeSpare(service: PolicyService, bytes: number): Buffer {
  const spare = service.spareBody;
  if (spare === null || spare.length < bytes) return Buffer.alloc(0);
  service.spareBody = null;
  return spare;
}

/** Large buffers go back to the system at once: left to the collector, two or three of them would be there together. */
function giveBack(buffer: Buffer, service: PolicyService): void {
  if (buffer.length > firstBytes) (buffer.buffer as ArrayBuffer).resize(0);
  else if (buffer.length > 0) service.spareBody ??= buffer;
}

/**
 * A buffer of at least `needed` bytes that begins with the first `length` of this one. The most there can be is taken at
 * once: the system gives pages as they are written to, so that a claimed length costs addresses, not memory.
 */
function withRoom(buffer: Buffer, length: number, needed: number, most: number): Buffer {
  if (needed <= buffer.length) return buffer;
  const size = needed <= firstBytes ? Math.min(most, firstBytes) : most;
  const grown =
    size <= firstBytes
      ? Buffer.allocUnsafeSlow(size)
      : Buffer.from(new ArrayBuffer(size, { maxByteLength: size }), 0, size);
  buffer.copy(grown, 0, 0, length);
  return grown;
}

function tooLarge(limit: number): SemanticVlaError {
  return new SemanticVlaError(
    'REQUEST_TOO_LARGE',
    `Request: expected a body of at most ${limit} bytes, found more.`,
  );
}
