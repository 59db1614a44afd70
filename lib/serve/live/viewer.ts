/**
 * One page that looks: server-sent events, written only as fast as they are read. What a slow reader has not taken waits
 * within a fixed number of bytes, the oldest gives way, and the page is told how many did. Pictures never wait.
 */

import type { ServerResponse } from 'node:http';

/** Bytes that wait for a slow page. */
const mostWaiting = 256 * 1024;

export class Viewer {
  /** Whose pictures it wants; null: everybody's. */
  readonly robot: string | null;
  readonly #response: ServerResponse;
  #waiting: string[] = [];
  #bytes = 0;
  #skipped = 0;
  /** Since when the page has taken nothing, milliseconds of `performance.now()`; null: it has taken all. */
  #blockedAt: number | null = null;

  /** @param response its head is written here */
  constructor(response: ServerResponse, robot: string | null, headers: Readonly<Record<string, string>>) {
    this.robot = robot;
    this.#response = response;
    response.on('drain', () => this.#drained());
    response.writeHead(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8' });
  }

  /** Whether an event would be written at once. */
  get isReady(): boolean {
    return this.#blockedAt === null;
  }

  /** Milliseconds since the page last took all that it was sent. */
  blockedFor(now: number): number {
    return this.#blockedAt === null ? 0 : now - this.#blockedAt;
  }

  /** @param event whole, as `sseEvent` makes it */
  send(event: string, canWait = true): void {
    if (this.isReady) {
      this.#write(event);
      return;
    }
    if (!canWait) return;
    this.#waiting.push(event);
    this.#bytes += event.length;
    while (this.#bytes > mostWaiting) {
      this.#bytes -= this.#waiting.shift()!.length;
      this.#skipped++;
    }
  }

  end(): void {
    this.#response.end();
  }

  /** Ends it at once, whatever waits. */
  destroy(): void {
    this.#response.destroy();
  }

  #write(text: string): void {
    if (!this.#response.write(text)) this.#blockedAt ??= performance.now();
  }

  #drained(): void {
    this.#blockedAt = null;
    if (this.#waiting.length === 0) return;
    const skipped = this.#skipped === 0 ? '' : sseEvent('skipped', { events: this.#skipped });
    const text = skipped + this.#waiting.join('');
    this.#waiting = [];
    this.#bytes = 0;
    this.#skipped = 0;
    this.#write(text);
  }
}

/** JSON has no line ends, so an event is one line of data, whatever texts are in it. */
export function sseEvent(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
