/**
 * Predictions of a long evaluation as they are made, a line of JSON each, so that one that was stopped goes on where it was. Lines
 * are found again by a key of all that decides them: another policy, other options, another dataset have other keys.
 */

import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { SemanticVlaError } from '../support/errors.ts';
import { isThere, readRegular, reason } from '../support/fileAccess.ts';
import type { EpisodePrediction } from './evaluateEpisode.ts';

/** What a line says of its chunk; numbers are little-endian, in base64. */
interface Line {
  readonly key: string;
  readonly episode: number;
  readonly step: number;
  readonly shape: readonly [number, number];
  /** float64 [C, A] */
  readonly actions: string;
  /** float32 [C, A] */
  readonly normalized: string;
  readonly kept: Readonly<Record<string, readonly number[]>>;
  readonly timings: Readonly<Record<string, number>>;
  readonly instruction: string;
  readonly unnormKey: string;
}

/** A prediction whose episode is not open. */
export type KnownPrediction = Omit<EpisodePrediction, 'rows'>;

const head = { semanticvla: 'results of evaluate', version: 1 };
/** In bytes: a million chunks of 8 x 7. */
const cap = 2 ** 31 - 1;

export class ResultsFile {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #lines: ReadonlyMap<string, readonly Line[]>;
  /** Keys that the file says what they stand for. */
  readonly #told: Set<string>;
  #pending: Promise<unknown> = Promise.resolve();
  #failed: unknown = null;

  private constructor(
    path: string,
    handle: FileHandle,
    lines: ReadonlyMap<string, readonly Line[]>,
    told: Set<string>,
  ) {
    this.path = path;
    this.#told = told;
    this.#handle = handle;
    this.#lines = lines;
  }

  /**
   * Reads what an earlier run left, or begins a new file. A last line that was not finished is dropped.
   * @throws (rejects) RESULTS_INVALID the file is something else, OUTPUT_UNWRITABLE
   */
  static async open(path: string): Promise<ResultsFile> {
    const isThereAlready = await isThere(path, 'OUTPUT_UNWRITABLE');
    const bytes = isThereAlready
      ? await readRegular(path, { missing: 'RESULTS_INVALID', cap })
      : Buffer.alloc(0);
    const whole = bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);
    const [first, ...lines] = whole.toString('utf8').split('\n').slice(0, -1);
    if (isThereAlready && first !== JSON.stringify(head)) {
      throw new SemanticVlaError(
        'RESULTS_INVALID',
        `${path}: expected results that evaluate wrote, found another file. Choose another name; it is not touched.`,
      );
    }
    const found = new Map<string, Line[]>();
    const told = new Set<string>();
    for (const [i, text] of lines.entries()) {
      const line = parsed(text, `${path}, line ${i + 2}`);
      if ('stands' in line) {
        told.add(line.key);
        continue;
      }
      const place = `${line.key} ${line.episode}`;
      const before = found.get(place);
      if (before === undefined) found.set(place, [line]);
      else before.push(line);
    }
    try {
      const handle = await open(path, isThereAlready ? 'a' : 'ax');
      if (isThereAlready) await handle.truncate(whole.length);
      else await handle.appendFile(`${JSON.stringify(head)}\n`);
      return new ResultsFile(path, handle, found, told);
    } catch (cause) {
      throw unwritable(path, cause);
    }
  }

  /**
   * The key of everything that decides a prediction; it is written once, with what it stands for.
   * @param facts that JSON can hold
   */
  key(facts: Readonly<Record<string, unknown>>): string {
    const text = JSON.stringify(facts);
    const key = createHash('sha256').update(text).digest('hex').slice(0, 16);
    if (!this.#told.has(key)) {
      this.#told.add(key);
      this.#write(JSON.stringify({ key, stands: facts }));
    }
    return key;
  }

  /** @param dimensions of the policy */
  known(key: string, episode: number, dimensions: readonly string[]): KnownPrediction[] {
    return (this.#lines.get(`${key} ${episode}`) ?? []).map((line) => ({
      step: line.step,
      chunk: {
        actions: new Float64Array(bytesIn(line.actions)),
        normalized: new Float32Array(bytesIn(line.normalized)),
        shape: line.shape,
        dimensions,
        keptPatches: Object.fromEntries(
          Object.entries(line.kept).map(([camera, kept]) => [camera, Int32Array.from(kept)]),
        ),
        timings: line.timings,
        instruction: line.instruction,
        unnormKey: line.unnormKey,
      },
    }));
  }

  /** Written in the background; `flush` says how that went. */
  add(key: string, episode: number, { step, chunk }: KnownPrediction): void {
    const kept = Object.entries(chunk.keptPatches).map(([camera, patches]) => [camera, Array.from(patches)]);
    const line: Line = {
      key,
      episode,
      step,
      shape: chunk.shape,
      actions: base64Of(chunk.actions),
      normalized: base64Of(chunk.normalized),
      kept: Object.fromEntries(kept) as Line['kept'],
      timings: chunk.timings,
      instruction: chunk.instruction,
      unnormKey: chunk.unnormKey,
    };
    this.#write(JSON.stringify(line));
  }

  /** @throws (rejects) OUTPUT_UNWRITABLE a line could not be written */
  async flush(): Promise<void> {
    await this.#pending;
    if (this.#failed !== null) throw unwritable(this.path, this.#failed);
  }

  async close(): Promise<void> {
    await this.#pending;
    await this.#handle.close();
  }

  #write(line: string): void {
    this.#pending = this.#pending.then(async () => {
      if (this.#failed !== null) return;
      try {
        await this.#handle.appendFile(`${line}\n`);
      } catch (cause) {
        this.#failed = cause;
      }
    });
  }
}

/** What a key stands for. */
interface Told {
  readonly key: string;
  readonly stands: unknown;
}

/** @throws RESULTS_INVALID */
function parsed(text: string, where: string): Line | Told {
  let value: Partial<Line & Told>;
  try {
    value = JSON.parse(text) as typeof value;
  } catch (cause) {
    throw damaged(where, cause);
  }
  const { key, stands, episode, step, shape, actions, normalized } = value ?? {};
  if (typeof key === 'string' && stands !== undefined) return { key, stands };
  const isLine =
    typeof key === 'string' &&
    [episode, step, ...(Array.isArray(shape) ? shape : [null])].every(Number.isInteger) &&
    bytesIn(actions ?? '').byteLength === 8 * shape![0] * shape![1] &&
    bytesIn(normalized ?? '').byteLength === 4 * shape![0] * shape![1];
  if (!isLine) throw damaged(where);
  return value as Line;
}

function damaged(where: string, cause?: unknown): SemanticVlaError {
  return new SemanticVlaError(
    'RESULTS_INVALID',
    `${where}: expected a prediction that evaluate wrote, found something else. Choose another name, or delete the line.`,
    { cause },
  );
}

function unwritable(path: string, cause: unknown): SemanticVlaError {
  return new SemanticVlaError(
    'OUTPUT_UNWRITABLE',
    `${path}: expected a file that can be written, found ${reason(cause)}. Choose another path.`,
    { cause },
  );
}

const base64Of = ({ buffer, byteOffset, byteLength }: Float32Array | Float64Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64');

function bytesIn(text: string): ArrayBuffer {
  const bytes = Buffer.from(text, 'base64');
  // a copy of its own, aligned
  return new Uint8Array(bytes).buffer as ArrayBuffer;
}
