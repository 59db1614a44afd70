/**
 * openpi's WebSocket protocol (websocket_policy_server.py): a metadata frame first, then one binary msgpack frame per request
 * and per answer, in the order of the requests. An error is a text frame, followed by a close once nothing else is running. The
 * text here is `CODE: message`, not a stack trace.
 */

import type { ActionChunk } from '../types.ts';
import type { Failure } from './failure.ts';
import { decodeMsgpackRequest, encodeMsgpackNumpy } from './msgpackNumpy.ts';
import { float64Array, NdArray, type WireValue } from './ndarray.ts';
import type { PolicyService } from './policyService.ts';
import type { Dialect } from './socketConnection.ts';

export function openpiDialect({ metadata }: PolicyService): Dialect {
  let prevTotalMs: number | null = null;
  const failure = ({ code, message }: Failure): string => `${code}: ${message}`;
  return {
    protocol: 'openpi',
    greeting: encodeMsgpackNumpy(metadata),
    answersPings: true,
    endsOnFailure: true,
    failure,
    read: (bytes) => {
      const start = performance.now();
      const fields = decodeMsgpackRequest(bytes);
      return {
        failure,
        answer: async (ask) => {
          const { chunk, inferMs } = await ask(fields);
          return {
            frame: () => encodeAnswer(chunk, inferMs, prevTotalMs),
            sent: () => {
              prevTotalMs = performance.now() - start;
            },
          };
        },
      };
    },
  };
}

/** `normalized` is an addition to openpi: a client of this project needs it, others ignore it. */
function encodeAnswer(chunk: ActionChunk, inferMs: number, prevTotalMs: number | null): Buffer {
  const { normalized, shape } = chunk;
  const timing = new Map<string, WireValue>([['infer_ms', inferMs]]);
  if (prevTotalMs !== null) timing.set('prev_total_ms', prevTotalMs);
  const answer = new Map<string, WireValue>([['actions', float64Array(chunk.actions, shape)]]);
  if (normalized.length === chunk.actions.length) {
    const { buffer, byteOffset, byteLength } = normalized;
    answer.set('normalized', new NdArray('<f4', shape, new Uint8Array(buffer, byteOffset, byteLength)));
  }
  return encodeMsgpackNumpy(answer.set('server_timing', timing));
}
