/** `POST /act` on Node's HTTP server: whatever is HTTP. What robots usually send does not get here; see actConnection.ts. */

import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { answerAct, clientLeft, failedAnswer, type HttpAnswer, policyHeader } from './actAnswer.ts';
import type { Body } from './bodyPool.ts';
import { ClientGone } from './clientGone.ts';
import { readHttpBody } from './httpBody.ts';
import { refuse } from './httpListener.ts';
import { isJsonType, jsonType } from './jsonType.ts';
import type { PolicyService } from './policyService.ts';

/** What FastAPI says to another method. */
const methodNotAllowed = '{"detail":"Method Not Allowed"}';

/** Reads nothing: the handler does, within the limits. */
function addBodyParser(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
}

export function addActRoute(app: FastifyInstance, service: PolicyService, compat: boolean): void {
  addBodyParser(app);
  app.post('/act', (request, reply) => act(request, reply, service, compat));
  app.route({
    method: ['GET', 'PUT', 'PATCH', 'DELETE'],
    url: '/act',
    handler: (_request, reply) => {
      reply.header('allow', 'POST');
      if (compat) return reply.code(405).header('content-type', jsonType).send(Buffer.from(methodNotAllowed));
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
  if (!isJsonType(request.headers['content-type'])) {
    return refuse(reply, { status: 415, code: 'REQUEST_INVALID', message: `Expected ${jsonType}.` });
  }
  let body: Body;
  try {
    body = await readHttpBody(request.raw, service.bodies);
  } catch (error) {
    if (!(error instanceof ClientGone)) return send(reply, failedAnswer(error, service, compat), service);
    clientLeft(service, 'upload');
    return drop(reply);
  }
  const caller = new AbortController();
  // `close` before the answer is written: the client is gone, and its inference is for nobody.
  const onClose = (): void => caller.abort(new ClientGone());
  reply.raw.once('close', onClose);
  const answer = await answerAct(body, service, compat, caller);
  reply.raw.off('close', onClose);
  return answer === null ? drop(reply) : send(reply, answer, service);
}

/** Past Fastify, which would append a charset to the type. */
function send(
  reply: FastifyReply,
  { status, headers, text }: HttpAnswer,
  service: PolicyService,
): FastifyReply {
  reply.hijack();
  const all: OutgoingHttpHeaders = {
    ...headers,
    'content-type': jsonType,
    'content-length': Buffer.byteLength(text),
  };
  if (service.draining) all.connection = 'close';
  reply.raw.writeHead(status, all).end(text);
  return reply;
}

/** Nobody is there to be answered. */
function drop(reply: FastifyReply): FastifyReply {
  reply.hijack();
  reply.raw.destroy();
  return reply;
}
