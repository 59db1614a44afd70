/**
 * The pages that both ports have besides their protocol. `/healthz` says that the process is alive, `/readyz` that it would
 * serve a request; `/metrics`, `/metadata` and `/`, which describes the port, are behind the gate.
 */

import { type HttpAnswer, policyHeader } from './httpAnswer.ts';
import type { Page } from './httpServer.ts';
import type { PolicyService } from './policyService.ts';
import { metadataJson } from './serverMetadata.ts';

const plain = 'text/plain; charset=utf-8';

function text(status: number, content: string): HttpAnswer {
  return { status, type: plain, text: content };
}

/** @param about what the port is for, in one line */
export function commonPages(service: PolicyService, about: string): [string, Page][] {
  const get = (answer: Page['answer'], isOpen = false): Page => ({ method: 'GET', isOpen, answer });
  return [
    ['/', get(() => text(200, `${about}${others}`))],
    ['/healthz', get(() => text(200, 'OK\n'), true)],
    [
      '/readyz',
      get(() => {
        if (service.ready) return text(200, 'OK\n');
        return text(503, service.draining ? 'draining\n' : 'failing\n');
      }, true),
    ],
    [
      '/metrics',
      get(async () => ({
        status: 200,
        type: service.metrics.contentType,
        text: await service.metrics.text(),
      })),
    ],
    [
      '/metadata',
      get(() => ({
        status: 200,
        headers: { [policyHeader]: service.fingerprint },
        text: metadataJson(service.metadata),
      })),
    ],
  ];
}

const others = `GET /metadata   the policy: cameras, dimensions, chunk
GET /healthz    OK: the process lives
GET /readyz     OK: it would serve
GET /metrics    for Prometheus
`;
