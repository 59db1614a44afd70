/**
 * An engine that sends nonsense on demand, bypassing the checks of its own process: the instruction names what it writes to the
 * link. Any other instruction is answered with the first joint as a chunk of one row; `module NAME` with a chunk broken in that
 * way, as a policy written by a user might return it.
 */

import { writeSync } from 'node:fs';
import type { Observation, PredictOptions } from '../../lib/types.ts';
import { brokenChunks, goodChunk } from '../support/chunks.ts';

const linkFd = 3;
const dimensions = ['x', 'y', 'z'];

function frame(json: unknown, body: Uint8Array = new Uint8Array(0)): void {
  const text = Buffer.from(typeof json === 'string' ? json : JSON.stringify(json));
  const head = Buffer.alloc(8);
  head.writeUInt32LE(text.length, 0);
  head.writeUInt32LE(body.length, 4);
  writeSync(linkFd, Buffer.concat([head, text, body]));
}

const chunk = {
  ...goodChunk(1),
  actions: 0,
  normalized: 1,
  keptPatches: {},
  similarity: {},
};
/** Three float64, three float32, the latter up to the next multiple of 8 bytes. */
const shapes = [
  ['f64', 3],
  ['f32', 3],
];
const body = new Uint8Array(24 + 16);
const answer = (id: number, change: object = {}, of: object = chunk) => ({
  kind: 'chunk',
  id,
  ms: 1,
  chunk: of,
  ...change,
});

/** Written instead of the answer to call `id`. */
export const nonsense: Readonly<Record<string, (id: number) => void>> = {
  'error null': (id) => frame([{ kind: 'error', id, error: null }, []]),
  'error text': (id) => frame([{ kind: 'error', id, error: 'broken' }, []]),
  'error without text': (id) => frame([{ kind: 'error', id, error: { code: 'CLOSED' } }, []]),
  'error of another call': () => frame([{ kind: 'error', id: 99, error: { code: null, message: 'x' } }, []]),
  'chunk null': (id) => frame([answer(id, { chunk: null }), []]),
  'chunk without arrays': (id) => frame([answer(id), []]),
  'chunk whose arrays are elsewhere': (id) => frame([answer(id, {}, { ...chunk, actions: 5 }), shapes], body),
  'chunk whose arrays are exchanged': (id) =>
    frame([answer(id, {}, { ...chunk, actions: 1, normalized: 0 }), shapes], body),
  'chunk of another shape': (id) => frame([answer(id, {}, { ...chunk, shape: [2, 3] }), shapes], body),
  'chunk of another robot': (id) =>
    frame([answer(id, {}, { ...chunk, dimensions: ['a', 'b', 'c'] }), shapes], body),
  'chunk that is not finite': (id) =>
    frame(
      [answer(id), shapes],
      Buffer.concat([Buffer.from(Float64Array.of(1, NaN, 1).buffer), body.subarray(24)]),
    ),
  'chunk with kept patches null': (id) =>
    frame([answer(id, {}, { ...chunk, keptPatches: null }), shapes], body),
  'chunk without a time': (id) => frame([answer(id, { ms: null }), shapes], body),
  'chunk of another call': (id) => frame([answer(id + 1), shapes], body),
  'chunk without a call': (id) => frame([answer(id, { id: undefined }), shapes], body),
  'stages in the place of a chunk': (id) => frame([{ kind: 'stages', id, stages: [] }, []]),
  'a second ready': () => frame([{ kind: 'ready', facts: {} }, []]),
  refused: () => frame([{ kind: 'refused', error: { code: null, message: 'no' } }, []]),
  'a kind of its own': (id) => frame([{ kind: 'action', id }, []]),
  'no kind': () => frame([{}, []]),
  null: () => frame([null, []]),
  'a text': () => frame(['chunk', []]),
  'no list': (id) => frame({ kind: 'chunk', id }),
  'no list of arrays': (id) => frame([answer(id)]),
  'arrays of a type of their own': (id) => frame([answer(id), [['f16', 3]]]),
  'arrays of a length below 0': (id) => frame([answer(id), [['f64', -3]]]),
  'arrays of half an element': (id) => frame([answer(id), [['f64', 2.5]]]),
  'arrays larger than all memory': (id) => frame([answer(id), [['f64', 2 ** 50]]]),
  'arrays larger than their frame': (id) => frame([answer(id), [['f64', 30]]], body),
  'arrays smaller than their frame': (id) => frame([answer(id), [['f64', 3]]], body),
  'no JSON': () => frame('{'),
  'JSON within JSON': () => frame('['.repeat(50_000)),
  'no frame': () => void writeSync(linkFd, Buffer.from('Segmentation fault\n')),
};

export interface HostileOptions {
  /** Written before it is ready. */
  readonly start?: 'ready null' | 'ready without dimensions' | 'an answer' | 'exit';
  /** What `createPolicy` returns instead of a policy. */
  readonly gives?: unknown;
}

export function createPolicy({ start, gives }: HostileOptions): unknown {
  if (start === 'ready null') frame([{ kind: 'ready', facts: null }, []]);
  if (start === 'ready without dimensions')
    frame([{ kind: 'ready', facts: { platform: { name: 'x', cameras: [], chunk: 1 } } }, []]);
  if (start === 'an answer') nonsense['chunk of another call']!(1);
  if (start === 'exit') process.exit(3);
  if (start !== undefined) return new Promise(() => {});
  if (gives !== undefined) return gives;
  return {
    platform: { name: 'custom', cameras: [], proprio: true, centerCrop: false, jpeg: false, chunk: 1 },
    dimensions,
    // what it sees of the server's environment
    variant: `token ${process.env.SEMANTICVLA_TOKEN ?? 'none'}`,
    imageSize: 224,
    patchGrid: 16,
    async predict({ state }: Observation, { instruction }: PredictOptions): Promise<unknown> {
      const write = nonsense[instruction];
      if (write !== undefined) {
        // the call's own number, which no policy knows
        write(state![1]!);
        return new Promise(() => {});
      }
      const good = goodChunk(1);
      good.actions[0] = state?.[0] ?? 0;
      const [, broken] = /^module (.*)$/.exec(instruction) ?? [];
      return broken === undefined ? { ...good, instruction } : brokenChunks[broken]!.make(good);
    },
    async stages(_: Observation, { instruction }: PredictOptions): Promise<unknown> {
      return instruction === 'good'
        ? new Map([['a', { dtype: 'F32', shape: [2], data: new Float32Array(2) }]])
        : { instruction };
    },
    async close() {},
  };
}
