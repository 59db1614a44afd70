/** `POST /act`: reads the body, within its limits, and answers it. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { answerAct, clientLeft, failedAnswer, policyHeader } from './actAnswer.ts';
import type { Body } from './bodyPool.ts';
import { ClientGone } from './clientGone.ts';
import type { Connection } from './connections.ts';
import { failureAnswer, type HttpAnswer } from './httpAnswer.ts';
import { readHttpBody } from './httpBody.ts';
import type { Page } from './httpServer.ts';
import { typeFault } from './jsonType.ts';
import type { PolicyService } from './policyService.ts';

/** What FastAPI says to another method. */
const methodNotAllowed: HttpAnswer = { status: 405, text: '{"detail":"Method Not Allowed"}' };

export function actPage(service: PolicyService, compat: boolean): Page {
  return {
    method: 'POST',
    ...(compat ? { otherMethods: methodNotAllowed } : {}),
    answer: (request, response, connection) => act(request, response, connection, service, compat),
  };
}

async function act(
  request: IncomingMessage,
  response: ServerResponse,
  connection: Connection,
  service: PolicyService,
  compat: boolean,
): Promise<HttpAnswer | null> {
  const fault = typeFault(request.headers);
  if (fault !== null) {
    const answer = failureAnswer({ status: 415, code: 'REQUEST_INVALID', message: fault });
    return { ...answer, headers: { [policyHeader]: service.fingerprint } };
  }
  const caller = new AbortController();
  let body: Body;
  try {
    const reading = readHttpBody(request, service.bodies, (error) => caller.abort(error));
    if (request.headers.expect !== undefined) response.writeContinue();
    body = await reading;
  } catch (error) {
    if (!(error instanceof ClientGone)) return failedAnswer(error, service, compat, connection);
    clientLeft(service, 'upload');
    return null;
  }
  // `close` before the answer is written: the client is gone, and nobody needs its inference.
  const onClose = (): void => caller.abort(new ClientGone());
  response.once('close', onClose);
  connection.isAnswering = true;
  const answer = await answerAct(body, service, compat, { caller, asker: connection });
  connection.isAnswering = false;
  response.off('close', onClose);
  return answer;
}
