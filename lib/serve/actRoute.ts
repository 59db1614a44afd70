/**
 * `POST /act` (spec, Serving protocol of the reference): json_numpy arrays in, a list of C arrays out. Failures have honest
 * status codes; with `compat` they are what the reference answers: status 200 and the JSON string "error".
 */

import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { ActionChunk } from '../types.ts';
import { readBody, UploadAborted } from './httpBody.ts';
import { policyHeader, refuse } from './httpListener.ts';
import { JsonSyntaxError } from './jsonBytes.ts';
import { decodeActRequest, encodeActions } from './jsonNumpy.ts';
import { float64Array, type NdArray } from './ndarray.ts';
import type { PolicyService } from './policyService.ts';

const json = 'application/json';

/** What FastAPI says to another method, and to a body that is not JSON. */
const methodNotAllowed = '{"detail":"Method Not Allowed"}';
const jsonInvalid =
  '{"detail":[{"type":"json_invalid","loc":["body",0],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting value"}}]}';

/** Reads nothing: the handler does, within the limits. A missing type is JSON: some clients set none. */
function addBodyParser(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
}

function isJson(request: FastifyRequest): boolean {
  const type = request.headers['content-type'];
  return type === undefined || /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(type);
}

export function addActRoute(app: FastifyInstance, service: PolicyService, compat: boolean): void {
  addBodyParser(app);
  app.post('/act', (request, reply) => act(request, reply, service, compat));
  app.route({
    method: ['GET', 'PUT', 'PATCH', 'DELETE'],
    url: '/act',
    handler: (_request, reply) => {
      reply.header('allow', 'POST');
      if (compat) return reply.code(405).header('content-type', json).send(Buffer.from(methodNotAllowed));
      return refuse(reply, { status: 405, code: 'METHOD_NOT_ALLOWED', message: 'Expected POST.' });
    },
  });
}

async function act(
  request: FastifyRequest,
  reply: FastifyReply,
  service: PolicyService,
  compat: boolean,
): Promise<FastifyReply> {
  reply.header(policyHeader, service.fingerprint);
  // `close` before the answer is written: the client is gone, and its inference is for nobody.
  const gone = new AbortController();
  const onClose = (): void => {
    if (!reply.raw.writableFinished) gone.abort(new UploadAborted());
  };
  reply.raw.once('close', onClose);
  let phase: 'upload' | 'inference' = 'upload';
  try {
    if (!isJson(request)) {
      return refuse(reply, { status: 415, code: 'REQUEST_INVALID', message: `Expected ${json}.` });
    }
    const body = await readBody(request.raw, service);
    try {
      phase = 'inference';
      const bytes = body.bytes.length;
      const start = performance.now();
      const { fields, encoded } = decodeActRequest(body.bytes);
      const { chunk, inferMs } = await service.infer(fields, gone.signal);
      const text = encodeActions(actionRows(chunk), encoded);
      const totalMs = performance.now() - start;
      service.metrics.request('act', 'OK', totalMs / 1000);
      service.log.info({ protocol: 'act', code: 'OK', bytes, inferMs, totalMs }, 'request');
      return sendText(reply, text, service.draining);
    } finally {
      body.release();
    }
  } catch (error) {
    if (gone.signal.aborted || error instanceof UploadAborted) return leave(reply, service, phase);
    return answerFailure(error, reply, service, compat);
  } finally {
    reply.raw.off('close', onClose);
  }
}

/**
 * Past Fastify, which would append a charset to the type and write head and body apart: as one text they are one system
 * call.
 */
function sendText(reply: FastifyReply, text: string, last: boolean): FastifyReply {
  reply.hijack();
  const headers: OutgoingHttpHeaders = { 'content-type': json, 'content-length': text.length };
  for (const [name, value] of Object.entries(reply.getHeaders())) headers[name] = value;
  if (last) headers.connection = 'close';
  reply.raw.writeHead(200, headers).end(text, 'latin1');
  return reply;
}

/** Nobody is there to be answered. */
function leave(reply: FastifyReply, service: PolicyService, phase: 'upload' | 'inference'): FastifyReply {
  service.metrics.disconnected('act', phase);
  service.log.warn({ protocol: 'act', phase }, 'client gone');
  reply.hijack();
  reply.raw.destroy();
  return reply;
}

function answerFailure(
  error: unknown,
  reply: FastifyReply,
  service: PolicyService,
  compat: boolean,
): FastifyReply {
  const failure = service.failed('act', error);
  if (!compat || failure.code === 'REQUEST_TOO_LARGE') return refuse(reply, failure);
  // FastAPI refuses these before the reference's handler, which answers "error" to all the rest.
  if (error instanceof JsonSyntaxError)
    return reply.code(422).header('content-type', json).send(Buffer.from(jsonInvalid));
  return reply.code(200).header('content-type', json).send(Buffer.from('"error"'));
}

/** [C, A] -> C arrays [A], views. */
function actionRows({ actions, shape: [count, width] }: ActionChunk): NdArray[] {
  return Array.from({ length: count }, (_, i) =>
    float64Array(actions.subarray(i * width, (i + 1) * width), [width]),
  );
}
