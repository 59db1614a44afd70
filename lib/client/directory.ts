/**
 * The directory of a fleet (docs/fleet.md): says which replica this robot uses, for how long, and when it moves. One question
 * for all of it, so that a directory may forget everything and learn it again from the robots.
 */

import { randomUUID } from 'node:crypto';
import type { Agent } from 'node:http';
import { exchange, oneConnection } from './exchange.ts';
import { type Protocol, refusalOf, remoteFailed, type TransportOptions } from './transport.ts';

export interface Lease {
  /** Address of the replica, as it registered itself. */
  readonly replica: string;
  /** Milliseconds until the directory gives the place to another robot, unless it is asked again. */
  readonly leaseMs: number;
}

/** What a lease may last; others are a mistake of the directory. */
const shortestMs = 50;
const longestMs = 3_600_000;

export class Directory {
  readonly url: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agent: Agent;
  readonly #protocol: Protocol;
  /** Drawn anew for each connection: it means nothing outside of the directory. */
  readonly #robot = randomUUID();

  constructor({ url, token }: TransportOptions, protocol: Protocol) {
    this.url = url;
    this.#headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    this.#agent = oneConnection(url);
    this.#protocol = protocol;
  }

  /**
   * A lease, renewed if it is for the same replica.
   * @param current the replica in use; null: none
   * @param avoid replicas that did not answer this robot
   * @throws (rejects) REMOTE_UNREACHABLE, REMOTE_FAILED, UNAUTHORIZED, the signal's reason
   */
  async lease(current: string | null, avoid: readonly string[], signal: AbortSignal): Promise<Lease> {
    const answer = await this.#ask({ replica: current, avoid }, signal);
    const { replica, lease_ms: leaseMs } = answer as { replica?: unknown; lease_ms?: unknown };
    if (typeof replica !== 'string') throw remoteFailed(this.url, 'the address of a replica', 'none');
    if (typeof leaseMs !== 'number' || !(leaseMs >= shortestMs && leaseMs <= longestMs)) {
      throw remoteFailed(this.url, `lease_ms in ${shortestMs}..${longestMs}`, String(leaseMs));
    }
    return { replica, leaseMs };
  }

  /** Gives the place back at once; otherwise it is free when the lease has run out. Never rejects. */
  async release(signal: AbortSignal): Promise<void> {
    await this.#ask({ release: true }, signal).catch(() => {});
    this.#agent.destroy();
  }

  async #ask(question: object, signal: AbortSignal): Promise<object> {
    const body = Buffer.from(JSON.stringify({ robot: this.#robot, protocol: this.#protocol, ...question }));
    const { url } = this;
    const reply = await exchange({ method: 'POST', url, headers: this.#headers, body, signal }, this.#agent);
    if (reply.status !== 200) throw refusalOf(url, reply);
    try {
      const answer: unknown = JSON.parse(reply.body.toString());
      if (typeof answer === 'object' && answer !== null) return answer;
    } catch {
      // Not JSON: another server.
    }
    throw remoteFailed(url, 'the answer of a directory', 'something else');
  }
}
