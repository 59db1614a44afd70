/**
 * The answer of `POST /act` (docs/model.md, Serving protocol of the reference): a list of C arrays. Failures have proper status
 * codes; with `compat` they are what the reference sends: status 200 and the JSON string "error".
 */

import type { ActionChunk } from '../types.ts';
import type { Body } from './bodyPool.ts';
import { ClientGone } from './clientGone.ts';
import { failureAnswer, type HttpAnswer } from './httpAnswer.ts';
import { JsonSyntaxError } from './jsonBytes.ts';
import { decodeActRequest, encodeActions } from './jsonNumpy.ts';
import { float64Array, type NdArray } from './ndarray.ts';
import type { PolicyService, Ticket } from './policyService.ts';

/** Names the policy that answered, so that a client needs no second request to know. */
export const policyHeader = 'x-semanticvla-policy';

/** FastAPI's answer to a body that is not JSON. */
const jsonInvalid =
  '{"detail":[{"type":"json_invalid","loc":["body",0],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting value"}}]}';

/**
 * Predicts from a body and releases it.
 * @param ticket its caller is aborted with ClientGone when the client leaves
 * @returns null if the client is gone, so that there is nobody to answer
 */
export async function answerAct(
  body: Body,
  service: PolicyService,
  compat: boolean,
  { caller, asker }: Pick<Ticket, 'caller' | 'asker'>,
): Promise<HttpAnswer | null> {
  try {
    const bytes = body.length;
    const start = performance.now();
    const { fields, encoded } = decodeActRequest(body.bytes());
    const { chunk, inferMs } = await service.infer(fields, {
      caller,
      asker,
      lease: body.lease,
      protocol: 'act',
    });
    if (caller.signal.reason instanceof ClientGone) throw caller.signal.reason;
    const text = encodeActions(actionRows(chunk), encoded);
    const totalMs = performance.now() - start;
    service.metrics.request('act', 'OK', totalMs / 1000);
    service.log.info({ protocol: 'act', code: 'OK', bytes, inferMs, totalMs }, 'request');
    return { status: 200, headers: { [policyHeader]: service.fingerprint }, text };
  } catch (error) {
    if (caller.signal.reason instanceof ClientGone) {
      clientLeft(service, 'inference');
      service.left('act', asker);
      return null;
    }
    return failedAnswer(error, service, compat, asker);
  } finally {
    body.release();
  }
}

export function clientLeft(service: PolicyService, phase: 'upload' | 'inference'): void {
  service.metrics.disconnected('act', phase);
  service.log.warn({ protocol: 'act', phase }, 'client gone');
}

export function failedAnswer(
  error: unknown,
  service: PolicyService,
  compat: boolean,
  asker: Ticket['asker'],
): HttpAnswer {
  const failure = service.failed('act', error, asker);
  const headers = { [policyHeader]: service.fingerprint };
  if (!compat || failure.code === 'REQUEST_TOO_LARGE') {
    const { status, headers: more, text } = failureAnswer(failure);
    return { status, headers: { ...headers, ...more }, text };
  }
  // FastAPI refuses these itself; the reference's own handler answers "error" to everything else.
  if (error instanceof JsonSyntaxError) return { status: 422, headers, text: jsonInvalid };
  return { status: 200, headers, text: '"error"' };
}

/** [C, A] -> C arrays [A], which are views. */
function actionRows({ actions, shape: [count, width] }: ActionChunk): NdArray[] {
  const rows: NdArray[] = [];
  for (let at = 0; at < count * width; at += width)
    rows.push(float64Array(actions.subarray(at, at + width), [width]));
  return rows;
}
