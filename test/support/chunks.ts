/** A valid chunk and every kind of invalid one, for every place where chunks are checked. */

import type { ActionChunk } from '../../lib/types.ts';

/** [rows, 3] `x y z`, with 16 patches per side. */
export function goodChunk(rows: number): ActionChunk {
  const actions = Float64Array.from({ length: rows * 3 }, (_, i) => i / 8);
  return {
    actions,
    normalized: Float32Array.from(actions),
    shape: [rows, 3],
    dimensions: ['x', 'y', 'z'],
    keptPatches: { full_image: Int32Array.of(0, 7, 255) },
    similarity: { full_image: Float32Array.of(0.5, -1) },
    timings: { total: 1, policy: 0 },
    instruction: 'go',
    unnormKey: 'k',
  };
}

interface Broken {
  readonly code: 'CHUNK_INVALID' | 'ACTION_NOT_FINITE';
  readonly make: (good: ActionChunk) => unknown;
}

const without = (name: keyof ActionChunk) => (good: ActionChunk) => {
  const { [name]: _, ...rest } = good;
  return rest;
};
const withField = (name: keyof ActionChunk, value: unknown) => (good: ActionChunk) => ({
  ...good,
  [name]: value,
});
const invalid = (make: Broken['make']): Broken => ({ code: 'CHUNK_INVALID', make });
const detached = (): Float64Array => {
  const array = new Float64Array(12);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
};

export const brokenChunks: Readonly<Record<string, Broken>> = {
  undefined: invalid(() => undefined),
  null: invalid(() => null),
  'a number': invalid(() => 5),
  'a list': invalid(() => [[1, 2, 3]]),
  'its actions alone': invalid(({ actions }) => actions),
  'an empty object': invalid(() => ({})),
  'a function': invalid(() => () => {}),
  ...Object.fromEntries(
    Object.keys(goodChunk(1)).map((name) => [`without ${name}`, invalid(without(name as keyof ActionChunk))]),
  ),
  ...Object.fromEntries(
    Object.keys(goodChunk(1)).map((name) => [
      `${name} null`,
      invalid(withField(name as keyof ActionChunk, null)),
    ]),
  ),
  'plain actions': invalid((good) => ({ ...good, actions: [...good.actions] })),
  'actions of float32': invalid((good) => ({ ...good, actions: Float32Array.from(good.actions) })),
  'actions by rows': invalid((good) => ({ ...good, actions: [[1, 2, 3]] })),
  'what only says it is an array': invalid(
    withField('actions', Object.create(Float64Array.prototype) as unknown),
  ),
  'an array without memory': invalid((good) => ({ ...good, actions: detached() })),
  'too few actions': invalid((good) => ({ ...good, actions: good.actions.subarray(1) })),
  'too many actions': invalid((good) => ({ ...good, actions: new Float64Array(13) })),
  'no actions': invalid((good) => ({ ...good, actions: new Float64Array(0) })),
  'a length of its own': invalid((good) => ({
    ...good,
    actions: Object.defineProperty(new Float64Array(11), 'length', { value: 12 }),
  })),
  'normalized of float64': invalid((good) => ({ ...good, normalized: good.actions })),
  'too few normalized': invalid((good) => ({ ...good, normalized: good.normalized.subarray(1) })),
  'no rows': invalid((good) => ({ ...good, shape: [0, 3], actions: new Float64Array(0) })),
  'half a row': invalid(withField('shape', [4.5, 3])),
  'rows below 0': invalid(withField('shape', [-4, 3])),
  'rows NaN': invalid(withField('shape', [Number.NaN, 3])),
  'rows as text': invalid(withField('shape', ['4', 3])),
  'exchanged shape': invalid(withField('shape', [3, 4])),
  'shape of one': invalid(withField('shape', [12])),
  'shape of three': invalid(withField('shape', [4, 3, 1])),
  'shape as an object': invalid(withField('shape', { 0: 4, 1: 3 })),
  'another robot': invalid((good) => ({ ...good, shape: [6, 2], dimensions: ['x', 'y'] })),
  'other names': invalid(withField('dimensions', ['x', 'y', 'gripper'])),
  'exchanged names': invalid(withField('dimensions', ['y', 'x', 'z'])),
  'a name too many': invalid(withField('dimensions', ['x', 'y', 'z', 'w'])),
  'names as one text': invalid(withField('dimensions', 'xyz')),
  'indices of float32': invalid(withField('keptPatches', { full_image: Float32Array.of(1, 2) })),
  'indices as a list': invalid(withField('keptPatches', { full_image: [1, 2] })),
  'an index below 0': invalid(withField('keptPatches', { full_image: Int32Array.of(-1, 2) })),
  'an index past the grid': invalid(withField('keptPatches', { full_image: Int32Array.of(1, 256) })),
  'an index twice': invalid(withField('keptPatches', { full_image: Int32Array.of(1, 1) })),
  'indices out of order': invalid(withField('keptPatches', { full_image: Int32Array.of(2, 1) })),
  'kept patches as a list': invalid(withField('keptPatches', [Int32Array.of(1)])),
  'similarity of float64': invalid(withField('similarity', { full_image: Float64Array.of(1) })),
  'similarity NaN': invalid(withField('similarity', { full_image: Float32Array.of(1, Number.NaN) })),
  'similarity infinite': invalid(withField('similarity', { full_image: Float32Array.of(Infinity) })),
  'a time as text': invalid(withField('timings', { total: '1' })),
  'a time NaN': invalid(withField('timings', { total: Number.NaN })),
  'a time below 0': invalid(withField('timings', { total: -1 })),
  'times as a list': invalid(withField('timings', [1])),
  'instruction as a number': invalid(withField('instruction', 5)),
  'unnormKey as an object': invalid(withField('unnormKey', {})),
  'a getter that throws': invalid((good) =>
    Object.defineProperty({ ...good }, 'actions', {
      get() {
        throw new Error('mine');
      },
    }),
  ),
  'a proxy that throws': invalid(
    (good) =>
      new Proxy(good, {
        get(_, name) {
          // an async function looks for `then` on what it returns
          if (name !== 'then') throw new Error('mine');
        },
      }),
  ),
  NaN: { code: 'ACTION_NOT_FINITE', make: (good) => ({ ...good, actions: good.actions.map(() => NaN) }) },
  infinite: {
    code: 'ACTION_NOT_FINITE',
    make: (good) => ({ ...good, actions: good.actions.with(2, Number.NEGATIVE_INFINITY) }),
  },
  'normalized NaN': {
    code: 'ACTION_NOT_FINITE',
    make: (good) => ({ ...good, normalized: good.normalized.with(0, Number.NaN) }),
  },
};
