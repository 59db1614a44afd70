/**
 * One port: an HTTP server with what both protocols need beside them. `/healthz` says that the process lives, `/readyz`
 * that it would serve; `/metrics` and `/metadata` are behind the gate.
 */

import type { Server } from 'node:http';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify';
import { SemanticVlaError } from '../errors.ts';
import type { Gate } from './access.ts';
import { failureAnswer, policyHeader } from './actAnswer.ts';
import { answerBrokenRequest, timeoutCheckMs } from './brokenRequest.ts';
import { type Failure, failureOf } from './failure.ts';
import { jsonType } from './jsonType.ts';
import type { ServeLimits } from './limits.ts';
import type { PolicyService } from './policyService.ts';
import { metadataJson } from './serverMetadata.ts';

/** Open to everybody, like openpi's server: an orchestrator has no token. */
const openPaths = new Set(['/healthz', '/readyz']);

export function refuse(reply: FastifyReply, failure: Failure): FastifyReply {
  const { status, headers, text } = failureAnswer(failure);
  return reply.code(status).headers(headers).header('content-type', jsonType).send(Buffer.from(text));
}

const denials: Readonly<Record<'UNAUTHORIZED' | 'FORBIDDEN', Failure>> = {
  UNAUTHORIZED: {
    status: 401,
    code: 'UNAUTHORIZED',
    message: 'Expected the header `Authorization: Bearer <token>` or `Api-Key <token>` with the right token.',
  },
  FORBIDDEN: {
    status: 403,
    code: 'FORBIDDEN',
    message: 'Requests of web pages are refused without a token.',
  },
};

/** A server that does not listen yet. Errors that Fastify finds itself get our form. */
export function makeListener(service: PolicyService, gate: Gate): FastifyInstance {
  const { limits } = service;
  const app = fastify({
    logger: false,
    bodyLimit: limits.bodyBytes,
    connectionTimeout: 0,
    keepAliveTimeout: limits.idleMs,
    requestTimeout: limits.requestMs,
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
    // Ours is set on every answer that is not JSON; Fastify's would carry a stack or a path.
    return503OnClosing: false,
    clientErrorHandler: answerBrokenRequest,
    http: { connectionsCheckingInterval: timeoutCheckMs, headersTimeout: limits.headersMs },
    frameworkErrors: (_error, _request, reply) => {
      void refuse(reply, { status: 400, code: 'REQUEST_INVALID', message: 'The address is malformed.' });
    },
  });
  app.server.maxConnections = limits.connections;
  app.addHook('onRequest', (request, reply, done) => {
    const denied = openPaths.has(request.url) ? null : gate(request.headers);
    if (denied === null) return done();
    service.metrics.rejected('token');
    service.log.warn({ code: denied, path: request.routeOptions.url ?? 'unknown' }, 'request refused');
    void refuse(reply, denials[denied]);
  });
  // Otherwise the connection of an answer that was under way would idle on, and `close` wait for it.
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (service.draining) reply.header('connection', 'close');
    done(null, payload);
  });
  app.setNotFoundHandler((_request, reply) =>
    refuse(reply, { status: 404, code: 'NOT_FOUND', message: 'Nothing is here.' }),
  );
  app.setErrorHandler((error: FastifyError, _request, reply) =>
    refuse(reply, frameworkFailure(error, limits)),
  );
  addHealth(app, service);
  return app;
}

/** Fastify's own errors, such as a wrong content type or a body over the limit. */
function frameworkFailure(error: FastifyError, limits: ServeLimits): Failure {
  if (error instanceof SemanticVlaError) return failureOf(error);
  const status = error.statusCode ?? 500;
  if (status === 413) {
    return { status, code: 'REQUEST_TOO_LARGE', message: `Expected at most ${limits.bodyBytes} bytes.` };
  }
  if (status >= 400 && status < 500) {
    return { status, code: 'REQUEST_INVALID', message: 'The request cannot be read.' };
  }
  return failureOf(error);
}

function addHealth(app: FastifyInstance, service: PolicyService): void {
  app.get('/healthz', (_request, reply) => reply.type('text/plain').send('OK\n'));
  app.get('/readyz', (_request, reply) => {
    if (service.ready) return reply.type('text/plain').send('OK\n');
    return reply
      .code(503)
      .type('text/plain')
      .send(service.draining ? 'draining\n' : 'failing\n');
  });
  app.get('/metrics', async (_request, reply) =>
    reply.type(service.metrics.contentType).send(await service.metrics.text()),
  );
  app.get('/metadata', (_request, reply) =>
    reply
      .header(policyHeader, service.fingerprint)
      .header('content-type', jsonType)
      .send(Buffer.from(metadataJson(service.metadata))),
  );
}

/** Resolves to the port. @throws (rejects) ADDRESS_UNAVAILABLE */
export async function listen(app: FastifyInstance, host: string, port: number): Promise<number> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'an error';
    throw new SemanticVlaError(
      'ADDRESS_UNAVAILABLE',
      `Listening on ${host} port ${port}: expected a free port, found ${code}. Choose another port, or end what has it.`,
      { cause },
    );
  }
  const address = (app.server as Server).address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has an address');
  return address.port;
}
