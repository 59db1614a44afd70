/** A server on a free port of this machine, requests to it, and waiting without a clock. */

import { type Logger, pino } from 'pino';
import { WebSocket } from 'ws';
import { encodeArray } from '../../lib/serve/jsonNumpy.ts';
import { decodeMsgpackMap, encodeMsgpackNumpy } from '../../lib/serve/msgpackNumpy.ts';
import { float64Array, NdArray, type WireMap, type WireValue } from '../../lib/serve/ndarray.ts';
import type { PolicyServer } from '../../lib/serve/policyServer.ts';
import { type ServeOptions, servePolicy } from '../../lib/serve/servePolicy.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { Policy } from '../../lib/types.ts';

/** Far longer than anything here takes, even starting a process on a busy machine; reached only by a hang. */
const patienceMs = 90_000;

export const silent: Logger = pino({ level: 'silent' });

export interface Served {
  readonly server: PolicyServer;
  readonly act: string;
  readonly openpi: string;
}

/** Serves both protocols for the time of `body`. */
export async function served(
  policy: Policy,
  options: Partial<ServeOptions>,
  body: (served: Served) => Promise<void>,
): Promise<void> {
  const server = await servePolicy(policy, {
    act: { port: 0 },
    openpi: { port: 0 },
    logger: silent,
    ...options,
    limits: { drainMs: 500, ...options.limits },
  });
  try {
    await body({ server, act: server.actUrl ?? '', openpi: server.openpiUrl ?? '' });
  } finally {
    await server.close();
  }
}

/** Resolves once `met` holds; rejects after a time that only a hang reaches. */
export async function until(met: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!(await met())) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Rejects if the promise hangs. Its timer does not keep a finished process alive. */
export async function inTime<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`never: ${what}`)), patienceMs).unref();
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function image(size: number, level: number): NdArray {
  return new NdArray('|u1', [size, size, 3], new Uint8Array(size * size * 3).fill(level));
}

/** What a robot would send; `first` is the first number of its state, which the fake policy adds to its actions. */
export function fields(first = 0, size = 4): Map<string, WireValue> {
  return new Map<string, WireValue>([
    ['full_image', image(size, 10)],
    ['wrist_image', image(size, 200)],
    ['state', float64Array(Float64Array.of(first, 1, 2), [3])],
    ['instruction', 'pick up the bowl'],
  ]);
}

export function toJson(value: WireValue): string {
  if (value instanceof NdArray) return encodeArray(value, 'spaced');
  if (value instanceof Map)
    return `{${[...value].map(([key, item]) => `${JSON.stringify(key)}: ${toJson(item)}`).join(', ')}}`;
  if (Array.isArray(value)) return `[${value.map(toJson).join(', ')}]`;
  return JSON.stringify(value);
}

export function actBody(first = 0, size = 4): string {
  return toJson(fields(first, size));
}

export function openpiMessage(first = 0, size = 4): Buffer {
  return encodeMsgpackNumpy(fields(first, size));
}

export function post(
  url: string,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${url}/act`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', ...headers },
  });
}

/** One sample of `GET /metrics`; 0 if it is not there. */
export async function metric(server: PolicyServer, line: string): Promise<number> {
  const text = await server.metrics();
  const found = text.split('\n').find((row) => row.startsWith(`${line} `));
  return found === undefined ? 0 : Number(found.slice(line.length + 1));
}

export interface Peer {
  readonly socket: WebSocket;
  /** The next frame: a map for a binary one, text for a text one. */
  next(): Promise<WireMap | string>;
  readonly closed: Promise<number>;
}

/** A client that keeps every frame. */
export function connect(url: string, headers: Record<string, string> = {}): Peer {
  const socket = new WebSocket(url, { perMessageDeflate: false, headers });
  const frames: (WireMap | string)[] = [];
  const waiters: ((frame: WireMap | string) => void)[] = [];
  socket.on('message', (data: Buffer, isBinary) => {
    const frame = isBinary ? decodeMsgpackMap(data) : data.toString();
    const waiter = waiters.shift();
    if (waiter === undefined) frames.push(frame);
    else waiter(frame);
  });
  socket.on('error', () => {});
  // `once` of node:events would reject with the error that comes before it.
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  const next = (): Promise<WireMap | string> => {
    const frame = frames.shift();
    return inTime(
      frame === undefined ? new Promise((resolve) => waiters.push(resolve)) : Promise.resolve(frame),
      'a frame',
    );
  };
  return { socket, next, closed: inTime(closed, 'the close') };
}

/** The code of the error that it must reject with in time; `none` if it resolves. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await inTime(promise, 'an error');
  } catch (error) {
    if (error instanceof SemanticVlaError) return error.code;
    throw error;
  }
  return 'none';
}
