/** A page that takes an observation: reads the body within its limits, predicts, and answers in the form of its protocol. */

import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { ActionChunk } from '../types.ts';
import type { Body } from './bodyPool.ts';
import { ClientGone } from './clientGone.ts';
import type { Connection } from './connections.ts';
import type { HttpAnswer } from './httpAnswer.ts';
import { readHttpBody } from './httpBody.ts';
import type { Page } from './httpServer.ts';
import type { PolicyService, Ticket } from './policyService.ts';
import type { Protocol } from './serverMetrics.ts';
import type { WireFields } from './wireFields.ts';

/** How a protocol over HTTP reads a request and words its answers. */
export interface InferForm {
  readonly protocol: Protocol;
  /** What refuses a request by its head, before the body is read; null: nothing. */
  refusal(headers: IncomingHttpHeaders): HttpAnswer | null;
  /** @param body may be overwritten @throws REQUEST_INVALID */
  read(body: Buffer, headers: IncomingHttpHeaders): InferRequest;
  /** Counts the failure, logs it, and words it. */
  failed(error: unknown): HttpAnswer;
}

export interface InferRequest {
  readonly fields: WireFields;
  answer(chunk: ActionChunk, inferMs: number): HttpAnswer;
}

export function inferPage(service: PolicyService, form: InferForm): Page {
  return {
    method: 'POST',
    answer: (request, response, connection) => serve(request, response, connection, service, form),
  };
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  connection: Connection,
  service: PolicyService,
  form: InferForm,
): Promise<HttpAnswer | null> {
  const refusal = form.refusal(request.headers);
  if (refusal !== null) return refusal;
  const caller = new AbortController();
  let body: Body;
  try {
    const reading = readHttpBody(request, service.bodies, (error) => caller.abort(error));
    if (request.headers.expect !== undefined) response.writeContinue();
    body = await reading;
  } catch (error) {
    if (!(error instanceof ClientGone)) return form.failed(error);
    clientLeft(service, form, 'upload');
    return null;
  }
  // `close` before the answer is written: the client is gone, and nobody needs its inference.
  const onClose = (): void => caller.abort(new ClientGone());
  response.once('close', onClose);
  connection.isAnswering = true;
  const answer = await predict(body, request.headers, service, form, { caller, asker: connection });
  connection.isAnswering = false;
  response.off('close', onClose);
  return answer;
}

/** Releases the body. Null if the client is gone, so that there is nobody to answer. */
async function predict(
  body: Body,
  headers: IncomingHttpHeaders,
  service: PolicyService,
  form: InferForm,
  { caller, asker }: Pick<Ticket, 'caller' | 'asker'>,
): Promise<HttpAnswer | null> {
  try {
    const bytes = body.length;
    const start = performance.now();
    const request = form.read(body.bytes(), headers);
    const { chunk, inferMs } = await service.infer(request.fields, {
      caller,
      asker,
      lease: body.lease,
      protocol: form.protocol,
    });
    if (caller.signal.reason instanceof ClientGone) throw caller.signal.reason;
    const answer = request.answer(chunk, inferMs);
    const totalMs = performance.now() - start;
    service.answered(form.protocol, { bytes, inferMs, totalMs });
    return answer;
  } catch (error) {
    if (!(caller.signal.reason instanceof ClientGone)) return form.failed(error);
    clientLeft(service, form, 'inference');
    return null;
  } finally {
    body.release();
  }
}

function clientLeft(service: PolicyService, { protocol }: InferForm, phase: 'upload' | 'inference'): void {
  service.metrics.disconnected(protocol, phase);
  service.log.warn({ protocol, phase }, 'client gone');
}
