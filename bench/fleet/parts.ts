/** What bench/fleet.ts and the long test of a fleet on Ray are made of: a cluster, servers, and robots that count their HOLDs. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connectAct } from '../../lib/client/connect.ts';
import type { RemoteEvent, RemotePolicy } from '../../lib/client/remotePolicy.ts';
import { asynchronous } from '../../lib/schedule/asynchronous.ts';
import { monotonicClock } from '../../lib/schedule/clock.ts';
import { type ControlLoop, startControlLoop } from '../../lib/schedule/controlLoop.ts';
import type { Observation } from '../../lib/types.ts';
import { freePort } from '../../scripts/freePort.ts';

const here = import.meta.dirname;
const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
const python = join(cache, 'semanticvla/ray-venv/bin/python');

/** Why Ray is not there; null: it is. */
export const withoutRay = existsSync(python) ? null : `${python} is not there. Get it with: deploy/setup.sh`;

export const observation: Observation = {
  images: { full_image: { data: new Uint8Array(64 * 64 * 3), width: 64, height: 64 } },
  state: new Float64Array(8),
};

/** A process that prints one JSON line after another. */
export class Lines {
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(command: string, args: readonly string[], log: 'inherit' | 'ignore') {
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', log] });
    this.#lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  async next<T>(): Promise<T> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`${this.child.spawnargs.join(' ')} has ended`);
    return JSON.parse(line.value) as T;
  }

  /** SIGTERM; resolves when it has ended. */
  async end(): Promise<void> {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill();
    await ended;
  }
}

/** Command line of a policy server, without its address. */
export function simulatedServer(latency: string): string[] {
  const program = join(here, 'simulatedServer.ts');
  return [process.execPath, '--import', 'tsx', program, '--latency', latency];
}

/** One policy server outside of Ray. */
export async function startServer(latency: string): Promise<{ url: string; end: () => Promise<void> }> {
  const [command, ...args] = simulatedServer(latency);
  const lines = new Lines(command!, args, 'inherit');
  const { act } = await lines.next<{ act: string }>();
  return { url: act, end: () => lines.end() };
}

export type Order =
  | { readonly replicas: number; readonly version: number }
  | { readonly kill: 'replica' | 'server' }
  | { readonly wait: number };

export interface Fleet {
  /** Its URL; robots put `fleet+` before it. */
  readonly directory: string;
  /** @returns seconds that it took */
  order(order: Order): Promise<number>;
  /** Robots of each replica, fewest first. */
  robots(): Promise<number[]>;
  end(): Promise<void>;
}

/** rayFleet.py. */
export class FleetOfRay implements Fleet {
  readonly #lines: Lines;
  readonly directory: string;

  private constructor(lines: Lines, directory: string) {
    this.#lines = lines;
    this.directory = directory;
  }

  static async start(latency: string, log: 'inherit' | 'ignore' = 'ignore'): Promise<FleetOfRay> {
    const port = await freePort();
    const lines = new Lines(python, [join(here, 'rayFleet.py'), `${port}`, process.execPath, latency], log);
    const { directory } = await lines.next<{ directory: string }>();
    return new FleetOfRay(lines, directory);
  }

  async order(order: Order): Promise<number> {
    this.#lines.child.stdin!.write(`${JSON.stringify(order)}\n`);
    const { seconds } = await this.#lines.next<{ seconds: number }>();
    return seconds;
  }

  async robots(): Promise<number[]> {
    const response = await fetch(this.directory);
    const { replicas } = (await response.json()) as { replicas: { robots: number }[] };
    return replicas.map(({ robots }) => robots).sort((a, b) => a - b);
  }

  async end(): Promise<void> {
    const { child } = this.#lines;
    if (child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.stdin!.end();
    await ended;
  }
}

/** Steps of the hand, as LIBERO's. */
const space = {
  name: 'simulated',
  dimensions: ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'].map((name) => ({
    name,
    kind: name === 'gripper' ? ('gripper' as const) : ('delta' as const),
    unit: 'normalized',
  })),
};

interface Robot {
  /** Runs of ticks without an action. */
  readonly holds: () => number;
  readonly policy: RemotePolicy;
  readonly loop: ControlLoop;
  readonly events: RemoteEvent[];
}

export interface RobotReport {
  /** Times that the robot stopped for lack of an action: runs of held ticks, after the first action. */
  readonly holds: number;
  /** Ticks of all of them. */
  readonly heldTicks: number;
  readonly executed: number;
  readonly moves: number;
  /** `hold`, `resume`, `changed`, `directory` of the client. */
  readonly others: readonly string[];
}

/** Robots with the real client, scheduler and control loop. */
export class Robots {
  readonly #robots: Robot[];
  #marks: {
    readonly holds: number;
    readonly held: number;
    readonly executed: number;
    readonly events: number;
  }[] = [];

  private constructor(robots: Robot[]) {
    this.#robots = robots;
  }

  /**
   * Resolves when each has executed its first action.
   * @param rateHz actions a second; a chunk has eight, and half of one is left when the next is asked for
   */
  static async start(url: string, count: number, rateHz: number): Promise<Robots> {
    const robots = await Promise.all(
      Array.from({ length: count }, async (): Promise<Robot> => {
        const events: RemoteEvent[] = [];
        let holds = 0;
        let isHeld = true;
        const policy = await connectAct(url, {
          deadlineMs: 1000,
          connectMs: 5000,
          onEvent: (event) => events.push(event),
        });
        const loop = startControlLoop({
          scheduler: asynchronous(policy, { space }),
          rate: rateHz,
          maxAge: 3000,
          instruction: 'pick up the bowl',
          observe: () => ({ observation, at: performance.now() }),
          act: ({ held: why }) => {
            if (why !== null && !isHeld) holds++;
            isHeld = why !== null;
          },
          // robots share a process here: none of them spins
          clock: monotonicClock(),
        });
        return { holds: () => holds, policy, loop, events };
      }),
    );
    while (robots.some(({ loop }) => loop.counters.executed === 0))
      await new Promise((resolve) => setTimeout(resolve, 20));
    const all = new Robots(robots);
    all.mark();
    return all;
  }

  /** What follows is counted from here. */
  mark(): void {
    this.#marks = this.#robots.map(({ loop, events, holds }) => ({
      holds: holds(),
      held: held(loop),
      executed: loop.counters.executed,
      events: events.length,
    }));
  }

  report(): RobotReport[] {
    return this.#robots.map(({ loop, events, holds }, i) => {
      const mark = this.#marks[i]!;
      const kinds = events.slice(mark.events).map(({ kind }) => kind);
      return {
        holds: holds() - mark.holds,
        heldTicks: held(loop) - mark.held,
        executed: loop.counters.executed - mark.executed,
        moves: kinds.filter((kind) => kind === 'moved').length,
        others: kinds.filter((kind) => kind !== 'moved'),
      };
    });
  }

  async end(): Promise<void> {
    for (const { loop, policy } of this.#robots) {
      await loop.stop();
      await policy.close();
    }
  }
}

function held(loop: ControlLoop): number {
  return Object.values(loop.counters.held).reduce((sum, count) => sum + count, 0);
}
