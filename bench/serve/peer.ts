/** The one client of both servers, and the processes it talks to. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';

export interface Reply {
  readonly status: number;
  readonly body: Buffer;
}

/** One request on a kept connection; the body was made before. */
export function ask(agent: Agent, url: string, body: Buffer | null): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers =
      body === null ? {} : { 'content-type': 'application/json', 'content-length': body.length };
    const method = body === null ? 'GET' : 'POST';
    const sent = request(url, { method, agent, headers }, (response: IncomingMessage) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }));
      response.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body ?? undefined);
  });
}

/**
 * One kept connection and requests made before, written as they are: the less the client does itself, the more of the
 * time is the server's.
 */
export class BareClient {
  readonly #socket: Socket;
  readonly #request: Buffer;
  readonly #read: (answer: Buffer) => Reply | null;
  #answer = Buffer.alloc(0);
  #done: ((reply: Reply) => void) | null = null;

  /** @param read the reply, from the start of an answer; null while it is not all there */
  constructor(socket: Socket, request: Buffer, read: (answer: Buffer) => Reply | null) {
    this.#socket = socket;
    this.#request = request;
    this.#read = read;
    socket.on('data', (data) => this.#receive(data));
  }

  ask(): Promise<Reply> {
    this.#answer = Buffer.alloc(0);
    this.#socket.write(this.#request);
    return new Promise((resolve) => {
      this.#done = resolve;
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(data: Buffer): void {
    this.#answer = Buffer.concat([this.#answer, data]);
    const reply = this.#read(this.#answer);
    if (reply !== null) this.#done?.(reply);
  }
}

export async function openSocket(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.setNoDelay(true);
  await once(socket, 'connect');
  return socket;
}

/** `POST /act` with this body. */
export async function openBareAct(url: string, body: Buffer): Promise<BareClient> {
  const head = `POST /act HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  return new BareClient(await openSocket(url), Buffer.concat([Buffer.from(head), body]), readHttp);
}

function readHttp(answer: Buffer): Reply | null {
  const head = answer.indexOf('\r\n\r\n');
  if (head < 0) return null;
  const text = answer.toString('latin1', 0, head);
  const length = Number(/content-length: (\d+)/i.exec(text)?.[1]);
  const body = answer.subarray(head + 4);
  return body.length >= length ? { status: Number(text.slice(9, 12)), body } : null;
}

export function keptAgent(sockets: number): Agent {
  return new Agent({ keepAlive: true, maxSockets: sockets });
}

/** Nearest-rank; `values` need not be sorted. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

export function noise(): Uint8Array {
  return Uint8Array.from({ length: 224 * 224 * 3 }, () => Math.random() * 256);
}

/** The body of a LIBERO robot: two cameras of 224 x 224, drawn noise, state and instruction. */
export function liberoBody(instruction = 'pick up the black bowl'): Buffer {
  const image = (): string =>
    `{"__numpy__": "${Buffer.from(noise()).toString('base64')}", "dtype": "|u1", "shape": [224, 224, 3]}`;
  const state = Buffer.from(new Float64Array(8).buffer).toString('base64');
  return Buffer.from(
    `{"full_image": ${image()}, "wrist_image": ${image()}, "state": {"__numpy__": "${state}", "dtype": "<f8", ` +
      `"shape": [8]}, "instruction": ${JSON.stringify(instruction)}}`,
  );
}

export interface Started {
  readonly child: ChildProcess;
  readonly act: string;
  readonly openpi: string;
}

export function startOurs(...args: string[]): Promise<Started> {
  return startNode('benchServer.ts', args);
}

/** That of another checkout, built and installed. */
export function startBeside(folder: string): Promise<Started> {
  return startNode('benchServer.ts', [], folder);
}

export function startFloor(kind: 'http' | 'socket'): Promise<Started> {
  return startNode('floorServer.ts', [kind]);
}

async function startNode(script: string, args: readonly string[], folder?: string): Promise<Started> {
  const file = folder === undefined ? join(import.meta.dirname, script) : join(folder, 'bench/serve', script);
  const child = spawn(process.execPath, ['--expose-gc', '--import', 'tsx', file, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...(folder === undefined ? {} : { cwd: folder }),
  });
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (data: Buffer) => resolve(data.toString()));
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
  });
  return { child, ...(JSON.parse(line) as { act: string; openpi: string }) };
}

/** `referenceServer.py` has `POST /act`, `referenceOpenpi.py` the WebSocket; both answer `GET /docs` once they are up. */
export async function startReference(
  python: string,
  port: number,
  script = 'referenceServer.py',
): Promise<Started> {
  const file = join(import.meta.dirname, script);
  const child = spawn(python, [file, String(port)], { stdio: ['ignore', 'ignore', 'inherit'] });
  const act = `http://127.0.0.1:${port}`;
  const agent = keptAgent(1);
  // Python's imports take long on a busy machine.
  for (let i = 0; i < 1200; i++) {
    await pause(100);
    try {
      await ask(agent, `${act}/docs`, null);
      agent.destroy();
      return { child, act, openpi: `ws://127.0.0.1:${port}` };
    } catch {
      // Not up yet.
    }
  }
  child.kill('SIGKILL');
  throw new Error('the reference server does not come up');
}

/** Time that the threads of a server have run so far, of all kinds; 0 where the kernel does not count it. Microseconds. */
export function busyMicroseconds({ child }: Started): number {
  const tasks = `/proc/${child.pid}/task`;
  const nanoseconds = readdirSync(tasks).map((task) => {
    try {
      return Number(readFileSync(join(tasks, task, 'schedstat'), 'utf8').split(' ')[0]);
    } catch {
      // The thread has ended, or the kernel was built without.
      return 0;
    }
  });
  return nanoseconds.reduce((sum, each) => sum + each, 0) / 1000;
}

export async function stop({ child }: Started): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
