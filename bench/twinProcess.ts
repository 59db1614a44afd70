/** The PyTorch baseline as a child process that answers one JSON line a request (bench/reference/runPolicy.py). */

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('./reference/runPolicy.py', import.meta.url));
const setup = 'bench/reference/setup.sh';

export interface TwinTimes {
  /** Milliseconds from frames in memory to actions, one a repetition. */
  readonly endToEndMs: readonly number[];
  /** Milliseconds in the model alone. */
  readonly modelMs: readonly number[];
  readonly normalized: readonly (readonly number[])[];
}

export interface TwinLoaded {
  readonly seconds: number;
  readonly residentMiB: number;
  readonly torch: string;
  readonly images: string;
}

/** Python of the baseline's environment; $SEMANTICVLA_BENCH_PYTHON names another one. */
function findPython(): string {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  const python =
    process.env.SEMANTICVLA_BENCH_PYTHON ?? join(cache, 'semanticvla', 'bench-venv', 'bin', 'python');
  if (!existsSync(python))
    throw new Error(`The PyTorch baseline is not installed (${python}). Make it with: ${setup}`);
  return python;
}

export class TwinProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;
  /** The end of what it wrote on standard error. */
  #said = '';

  constructor() {
    this.#child = spawn(findPython(), [script], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#ended = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-2000);
    });
    // a request to one that has died: the answer that does not come says so
    this.#child.stdin.on('error', () => {});
    this.#lines = createInterface({ input: this.#child.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  load(request: {
    dir: string;
    threads: number;
    cameras: number;
    chunk: number;
    lean: boolean;
    /** Of its weights and activations. */
    dtype: 'float32' | 'bfloat16';
  }): Promise<TwinLoaded> {
    return this.#ask({ cmd: 'load', ...request });
  }

  predict(request: {
    observation: string;
    instruction: string;
    unnorm_key: string;
    repeat: number;
  }): Promise<TwinTimes> {
    return this.#ask({ cmd: 'predict', ...request });
  }

  /** Milliseconds of processor time of all its threads so far. Linux counts them in hundredths of a second. */
  cpuMs(): number {
    const stat = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8');
    // behind the name, which may hold anything: state is the third field, utime and stime the 14th and 15th
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return 10 * (Number(fields[11]) + Number(fields[12]));
  }

  async close(): Promise<void> {
    this.#child.stdin.end(`${JSON.stringify({ cmd: 'quit' })}\n`);
    await this.#ended;
  }

  async #ask<T>(request: object): Promise<T> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) {
      await this.#ended;
      throw new Error(`The PyTorch baseline ended without an answer: ${this.#said}`);
    }
    const answer = JSON.parse(value) as { ok: boolean; error?: string };
    if (!answer.ok) throw new Error(`The PyTorch baseline: ${answer.error}`);
    return answer as T;
  }
}
