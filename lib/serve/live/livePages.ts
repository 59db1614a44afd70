/** `GET /live`, the page; `GET /live/events`, what it shows; `POST /live/report`, what a robot's loop says about itself. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { BodyPool } from '../bodyPool.ts';
import { ClientGone } from '../clientGone.ts';
import { failureOf } from '../failure.ts';
import { failureAnswer, type HttpAnswer } from '../httpAnswer.ts';
import { readHttpBody } from '../httpBody.ts';
import type { Page } from '../httpServer.ts';
import { typeFault } from '../jsonType.ts';
import type { PolicyService } from '../policyService.ts';
import type { LiveFeed } from './liveFeed.ts';
import { livePage, livePagePolicy } from './livePage.ts';
import { mostReportBytes, readReport } from './liveReport.ts';
import { Viewer } from './viewer.ts';

/** Nothing of it can be framed, read or kept by anybody else. */
const headers = {
  'cache-control': 'no-store',
  'content-security-policy': livePagePolicy,
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

export function livePages({ policy, budget }: PolicyService, feed: LiveFeed): [string, Page][] {
  const text = livePage(policy);
  // its own memory: the next observation finds the large buffer of the last one
  const bodies = new BodyPool(mostReportBytes, budget);
  return [
    [
      '/live',
      {
        method: 'GET',
        asksBrowser: true,
        answer: () => ({ status: 200, headers, type: 'text/html; charset=utf-8', text }),
      },
    ],
    [
      '/live/events',
      {
        method: 'GET',
        asksBrowser: true,
        answer: (request, response) => watch(request, response, feed),
      },
    ],
    ['/live/report', { method: 'POST', answer: (request) => report(request, bodies, feed) }],
  ];
}

function watch(
  request: IncomingMessage,
  response: ServerResponse,
  feed: LiveFeed,
): ReturnType<Page['answer']> {
  // Another page could not read it, but it could take the places. Programs send no such header.
  if (!['same-origin', 'none', undefined].includes(request.headers['sec-fetch-site'] as string | undefined)) {
    const message = 'This is for the page /live itself, not for pages of others.';
    return failureAnswer({ status: 403, code: 'FORBIDDEN', message });
  }
  if (!feed.hasPlace) {
    const message = 'As many pages look as may, or the server is shutting down. Close one of them.';
    return failureAnswer({ status: 503, code: 'OVERLOADED', message });
  }
  if (request.method === 'HEAD') return { status: 200, headers, type: 'text/event-stream', text: '' };
  const robot = new URL(request.url ?? '', 'http://x').searchParams.get('robot');
  const viewer = new Viewer(response, robot, headers);
  feed.add(viewer);
  return new Promise((resolve) => {
    response.once('close', () => {
      feed.remove(viewer);
      resolve(null);
    });
  });
}

async function report(
  request: IncomingMessage,
  bodies: BodyPool,
  feed: LiveFeed,
): Promise<HttpAnswer | null> {
  const fault = typeFault(request.headers);
  if (fault !== null) return failureAnswer({ status: 415, code: 'REQUEST_INVALID', message: fault });
  try {
    const body = await readHttpBody(request, bodies, () => {});
    try {
      // it is read for nothing but the page
      if (feed.isWatched) feed.reported(readReport(Buffer.from(body.bytes()).toString()));
    } finally {
      body.release();
    }
    return { status: 200, text: JSON.stringify({ watched: feed.isWatched }) };
  } catch (error) {
    return error instanceof ClientGone ? null : failureAnswer(failureOf(error));
  }
}
