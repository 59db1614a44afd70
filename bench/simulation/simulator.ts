/** training/simulator.py as a child process: scenes, steps and frames of the simulator in which the policy of models/cubes was trained. */

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { ImageFrame } from '../../lib/types.ts';

/** What a scene asks for; null where no sentence of the family fits it. */
export interface Task {
  readonly named: string;
  readonly sentence: string;
}

export interface Start {
  readonly task: Task | null;
  readonly state: readonly number[];
}

export interface Step {
  /** [8] position in metres, axis-angle, two finger joints. */
  readonly state: readonly number[];
  /** The first cube that is more than 4 cm above where it lay. */
  readonly lifted: string | null;
}

const script = fileURLToPath(new URL('../../training/simulator.py', import.meta.url));

/** The Python of training/setup.sh, whether it is there or not. */
export const simulatorPython = join(
  process.env.XDG_CACHE_HOME || join(homedir(), '.cache'),
  'semanticvla/simulator-venv/bin/python',
);

/** One request at a time, in order. */
export class Simulator {
  readonly #child: ChildProcess;
  readonly #ended: Promise<never>;
  #chunks: Buffer[] = [];
  #wake = (): void => {};

  /** @throws OPTION_INVALID the simulator's environment is not installed */
  constructor() {
    if (!existsSync(simulatorPython)) {
      throw new SemanticVlaError(
        'OPTION_INVALID',
        `Simulator: expected its Python environment at ${simulatorPython}, found none. Run training/setup.sh.`,
      );
    }
    this.#child = spawn(simulatorPython, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout!.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#wake();
    });
    this.#ended = new Promise((_, reject) => {
      this.#child.once('error', reject);
      this.#child.once('exit', (code, signal) =>
        reject(new Error(`training/simulator.py ended with ${signal ?? `code ${code}`}`)),
      );
    });
    this.#ended.catch(() => {});
  }

  async reset(seed: number, family: string): Promise<Start> {
    return (await this.#ask({ reset: seed, family })) as unknown as Start;
  }

  /** @param action [7], each in -1..1 */
  async step(action: readonly number[]): Promise<Step> {
    return (await this.#ask({ step: action })) as unknown as Step;
  }

  /** What the cameras see now, by name. */
  async frames(): Promise<Record<string, ImageFrame>> {
    const { frames } = (await this.#ask({ frames: true })) as {
      frames: Record<string, [number, number, number]>;
    };
    const images: Record<string, ImageFrame> = {};
    for (const [name, [height, width, channels]] of Object.entries(frames))
      images[name] = { data: await this.#read(height * width * channels), width, height };
    return images;
  }

  close(): void {
    this.#child.kill();
  }

  async #ask(request: object): Promise<Record<string, unknown>> {
    this.#child.stdin!.write(`${JSON.stringify(request)}\n`);
    for (let line = 0; ; ) {
      const end = this.#chunks.findIndex((chunk) => chunk.includes(10));
      if (end >= 0) {
        for (const chunk of this.#chunks.slice(0, end)) line += chunk.length;
        line += this.#chunks[end]!.indexOf(10);
        return JSON.parse((await this.#read(line + 1)).toString());
      }
      await this.#more();
    }
  }

  async #read(bytes: number): Promise<Buffer> {
    while (this.#chunks.reduce((sum, { length }) => sum + length, 0) < bytes) await this.#more();
    const all = Buffer.concat(this.#chunks);
    this.#chunks = all.length > bytes ? [all.subarray(bytes)] : [];
    return all.subarray(0, bytes);
  }

  #more(): Promise<unknown> {
    const arrived = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    return Promise.race([arrived, this.#ended]);
  }
}
