/**
 * A fleet without Ray: directory.py, and replica.py for each replica, started again when one ends, as an orchestrator would. A
 * new version comes one replica at a time, each successor before its predecessor leaves.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Fleet, Lines, type Order, simulatedServer } from './parts.ts';

const deploy = join(import.meta.dirname, '../../deploy');

export class LocalFleet implements Fleet {
  readonly directory: string;
  readonly #lines: Lines;
  readonly #latency: string;
  readonly #replicas = new Set<Lines>();
  #version = 0;
  #ending = false;

  private constructor(lines: Lines, directory: string, latency: string) {
    this.#lines = lines;
    this.directory = directory;
    this.#latency = latency;
  }

  static async start(latency: string): Promise<LocalFleet> {
    const lines = new Lines('python3', [join(deploy, 'directory.py'), '--port', '0'], 'inherit');
    const { directory } = await lines.next<{ directory: string }>();
    return new LocalFleet(lines, directory, latency);
  }

  async order(order: Order): Promise<number> {
    const begun = performance.now();
    if ('kill' in order) this.#kill(order.kill);
    else if ('wait' in order) await this.#wait(order.wait);
    else await this.#deploy(order.replicas, order.version);
    return (performance.now() - begun) / 1000;
  }

  async robots(): Promise<number[]> {
    return (await this.#summary()).map(({ robots }) => robots).sort((a, b) => a - b);
  }

  async end(): Promise<void> {
    this.#ending = true;
    await Promise.all([...this.#replicas, this.#lines].map((one) => one.end()));
  }

  async #deploy(count: number, version: number): Promise<void> {
    const old = version === this.#version ? [] : [...this.#replicas];
    this.#version = version;
    for (const one of old) {
      await this.#start();
      await this.#stop(one);
    }
    while (this.#replicas.size < count) await this.#start();
    for (const one of [...this.#replicas].slice(count)) await this.#stop(one);
  }

  /** Resolves when it is in the directory. */
  async #start(): Promise<void> {
    const lines = new Lines(
      'python3',
      [join(deploy, 'replica.py'), '--directory', this.directory, '--', ...simulatedServer(this.#latency)],
      'ignore',
    );
    this.#replicas.add(lines);
    lines.child.once('exit', () => {
      if (this.#replicas.delete(lines) && !this.#ending) this.#start().catch(() => {});
    });
    await lines.next();
  }

  async #stop(replica: Lines): Promise<void> {
    this.#replicas.delete(replica);
    await replica.end();
  }

  #kill(what: 'replica' | 'server'): void {
    const [first] = this.#replicas;
    const { pid } = first!.child;
    if (what === 'replica') process.kill(pid!, 'SIGKILL');
    else process.kill(childOf(pid!), 'SIGKILL');
  }

  async #wait(count: number): Promise<void> {
    while ((await this.#summary()).filter(({ leaving }) => !leaving).length !== count)
      await new Promise((resolve) => setTimeout(resolve, 100));
  }

  async #summary(): Promise<readonly { readonly robots: number; readonly leaving: boolean }[]> {
    const response = await fetch(this.directory);
    const { replicas } = (await response.json()) as {
      replicas: { robots: number; leaving: boolean }[];
    };
    return replicas;
  }
}

/** The first process that any thread of this one has started. */
function childOf(pid: number): number {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').trim().split(/\s+/).filter(Boolean),
  );
  return Number(children[0]);
}
