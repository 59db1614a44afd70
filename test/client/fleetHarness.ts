/** A directory (deploy/directory.py, as a process) and replicas of fake policies in this process. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { PolicyServer } from '../../lib/serve/policyServer.ts';
import { servePolicy } from '../../lib/serve/servePolicy.ts';
import { FakePolicy } from '../serve/fakePolicy.ts';
import { inTime, silent } from '../serve/harness.ts';

const program = fileURLToPath(new URL('../../deploy/directory.py', import.meta.url));
/** Renewals are three times as often. */
const leaseS = 1.5;
const beatMs = 300;

interface Summary {
  readonly replicas: readonly {
    readonly urls: Readonly<Record<string, string>>;
    readonly robots: number;
    readonly leaving: boolean;
  }[];
}

const started = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of started) child.kill('SIGKILL');
});

export class DirectoryProcess {
  readonly #child: ChildProcess;
  readonly #token: string | undefined;
  /** e.g. `http://127.0.0.1:40000`. */
  readonly url: string;

  private constructor(child: ChildProcess, url: string, token: string | undefined) {
    this.#child = child;
    this.url = url;
    this.#token = token;
  }

  static async start({ token, port = 0 }: { token?: string; port?: number } = {}): Promise<DirectoryProcess> {
    const child = spawn('python3', [program, '--port', `${port}`, '--lease-s', `${leaseS}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, SEMANTICVLA_TOKEN: token ?? '' },
    });
    const [line] = (await inTime(once(child.stdout!, 'data'), 'the directory')) as [Buffer];
    // Neither keeps this process alive, nor stays behind.
    child.unref();
    (child.stdout as Socket).unref();
    started.add(child);
    const { directory } = JSON.parse(line.toString()) as { directory: string };
    return new DirectoryProcess(child, directory, token);
  }

  /** What a client connects to. */
  fleet(protocol: 'act' | 'openpi'): string {
    return `fleet+${protocol === 'act' ? this.url : this.url.replace('http', 'ws')}`;
  }

  async post(path: string, fields: object): Promise<unknown> {
    const response = await fetch(`${this.url}${path}`, {
      method: 'POST',
      body: JSON.stringify(fields),
      headers: { 'content-type': 'application/json', ...this.#headers },
    });
    return response.json();
  }

  /** Robots of each replica, fewest first. */
  async robots(): Promise<number[]> {
    const response = await fetch(this.url, { headers: this.#headers });
    const { replicas } = (await response.json()) as Summary;
    return replicas.map(({ robots }) => robots).sort((a, b) => a - b);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.ref();
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get #headers(): Record<string, string> {
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` };
  }
}

let replicas = 0;

export interface ReplicaOptions {
  readonly policy?: FakePolicy;
  /** Of its checkpoint, in the metadata. */
  readonly digest?: string;
  readonly token?: string;
}

export class FakeReplica {
  readonly policy: FakePolicy;
  readonly #server: PolicyServer;
  readonly #name = `replica ${replicas++}`;
  #directory: DirectoryProcess;
  #leaving = false;
  #beats: NodeJS.Timeout | undefined;

  private constructor(policy: FakePolicy, server: PolicyServer, directory: DirectoryProcess) {
    this.policy = policy;
    this.#server = server;
    this.#directory = directory;
  }

  static async start(directory: DirectoryProcess, options: ReplicaOptions = {}): Promise<FakeReplica> {
    const policy = options.policy ?? new FakePolicy({ immediate: true });
    const server = await servePolicy(policy, {
      act: { port: 0 },
      openpi: { port: 0 },
      logger: silent,
      metadata: { checkpoint: options.digest ?? 'a' },
      // ends connections at once, like a killed process
      limits: { drainMs: 1 },
      ...(options.token === undefined ? {} : { token: options.token }),
    });
    const replica = new FakeReplica(policy, server, directory);
    await replica.#beat();
    replica.#beats = setInterval(() => void replica.#beat().catch(() => {}), beatMs);
    return replica;
  }

  get urls(): { readonly act: string; readonly openpi: string } {
    return { act: this.#server.actUrl!, openpi: this.#server.openpiUrl! };
  }

  /** Robots are asked to move. */
  async leave(): Promise<void> {
    this.#leaving = true;
    await this.#beat();
  }

  /** From now on it is in this directory. */
  join(directory: DirectoryProcess): void {
    this.#directory = directory;
  }

  /** It ends without a word. */
  async kill(): Promise<void> {
    clearInterval(this.#beats);
    await this.#server.close();
  }

  /** It ends, and its directory knows. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#directory.post('/replicas', { replica: this.#name, remove: true }).catch(() => {});
  }

  async #beat(): Promise<void> {
    await this.#directory.post('/replicas', {
      replica: this.#name,
      urls: this.urls,
      leaving: this.#leaving,
    });
  }
}
