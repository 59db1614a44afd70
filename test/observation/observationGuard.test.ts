import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { guardPolicy } from '../../lib/observation/guardPolicy.ts';
import { type ObservationGuardOptions, observationGuard } from '../../lib/observation/observationGuard.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { unnormalizeActions } from '../../lib/transforms/actions.ts';
import type { ActionChunk, ImageFrame, Observation, Policy } from '../../lib/types.ts';

const test = suite('observation guard');
const cameras = ['full_image', 'wrist_image'];

/** mulberry32: the same numbers on every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A different view for each camera, plus noise that no two frames share. */
function view(camera: number, shot: number, { width = 64, height = 48 } = {}): ImageFrame {
  const next = random(camera * 1000 + shot + 1);
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    const scene = camera === 0 ? (x * 200) / width : 200 - (y * 180) / height;
    data[i] = 20 + scene + next() * 8;
  }
  return { width, height, data };
}

function seen(
  shot: number,
  changes: Record<string, ImageFrame> = {},
  state: unknown = [0.1, shot],
): Observation {
  const images = { full_image: view(0, shot), wrist_image: view(1, shot), ...changes };
  return { images, state: state as number[] };
}

const guardOf = (options: Partial<ObservationGuardOptions> = {}) => observationGuard({ cameras, ...options });

function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return error instanceof SemanticVlaError ? error.code : String(error);
  }
  return 'none';
}

test('what is right passes, again and again', () => {
  const guard = guardOf();
  for (let shot = 0; shot < 40; shot++) guard.check(seen(shot), shot * 50);
  // an additional camera in the observation is ignored
  guard.check(seen(41, { depth: view(3, 1) }), 41 * 50);
});

test('every fault is refused by its own code, and the next right observation passes', () => {
  const frame = view(0, 500);
  const gray = { ...frame, data: frame.data.subarray(0, 64 * 48) };
  const rgba = { ...frame, data: new Uint8Array(64 * 48 * 4).fill(90) };
  const dark = { ...frame, data: new Uint8Array(frame.data.length).fill(9) };
  const { wrist_image: _gone, ...oneCamera } = seen(1).images;
  const faults: [Observation | unknown, string][] = [
    [{ images: oneCamera, state: [0, 1] }, 'CAMERA_MISSING'],
    [{ images: { full_image: frame, wrist_image: undefined }, state: [0, 1] }, 'CAMERA_MISSING'],
    [{}, 'OBSERVATION_INVALID'],
    [null, 'OBSERVATION_INVALID'],
    [
      seen(1, { full_image: { ...frame, data: Float32Array.from(frame.data) as unknown as Uint8Array } }),
      'IMAGE_DTYPE',
    ],
    [seen(1, { full_image: gray }), 'IMAGE_INVALID'],
    [seen(1, { full_image: rgba }), 'IMAGE_INVALID'],
    [seen(1, { full_image: { width: 0, height: 0, data: new Uint8Array(0) } }), 'IMAGE_INVALID'],
    [seen(1, { full_image: { width: 70_000, height: 1, data: new Uint8Array(210_000) } }), 'IMAGE_TOO_LARGE'],
    [seen(1, { full_image: view(0, 3, { width: 32, height: 48 }) }), 'IMAGE_INVALID'],
    [seen(1, { wrist_image: dark }), 'IMAGE_BLACK'],
    [seen(1, { wrist_image: { ...frame, data: new Uint8Array(frame.data.length) } }), 'IMAGE_BLACK'],
    [seen(1, {}, [0.1, Number.NaN]), 'STATE_INVALID'],
    [seen(1, {}, [0.1, Number.POSITIVE_INFINITY]), 'STATE_INVALID'],
    [seen(1, {}, ['0.1', '0.2']), 'STATE_INVALID'],
    [seen(1, {}, BigInt64Array.of(1n, 2n)), 'STATE_INVALID'],
    [seen(1, {}, { 0: 1, 1: 2, length: 2 }), 'STATE_INVALID'],
    [seen(1, {}, [0.1, 0.2, 0.3]), 'STATE_INVALID'],
    [seen(1, {}, []), 'STATE_INVALID'],
    [{ images: seen(1).images }, 'STATE_INVALID'],
  ];
  const guard = guardOf();
  let at = 0;
  guard.check(seen(0), at);
  for (const [i, [observation, code]] of faults.entries()) {
    at += 50;
    const check = () => guard.check(observation as Observation, at);
    assert.is(codeOf(check), code, `fault ${i}`);
    assert.is(codeOf(check), code, `fault ${i}, asked again`);
    at += 50;
    guard.check(seen(100 + i), at);
  }
});

test('one pixel and 8k frames are looked at in bounded time', () => {
  const guard = observationGuard({ cameras: ['full_image'] });
  guard.check({ images: { full_image: { width: 1, height: 1, data: Uint8Array.of(0, 99, 0) } } }, 1);
  guard.reset();
  const data = new Uint8Array(7680 * 4320 * 3).fill(80);
  for (let shot = 0; shot < 3; shot++) {
    data[shot] = shot;
    guard.check({ images: { full_image: { width: 7680, height: 4320, data } } }, 600 * shot);
  }
  assert.is(
    codeOf(() =>
      guard.check({ images: { full_image: { width: 7680, height: 4320, data: data.slice() } } }, 5000),
    ),
    'none',
    'bytes that are compared changed less than three observations ago',
  );
});

test('a camera that stands still too long is frozen; a slow one is not; it may come back', () => {
  const stuck = view(1, 7);
  const guard = guardOf({ frozenMs: 500 });
  for (let at = 0; at < 500; at += 50) guard.check(seen(at, { wrist_image: { ...stuck } }), at);
  assert.is(
    codeOf(() => guard.check(seen(500, { wrist_image: stuck }), 500)),
    'IMAGE_FROZEN',
  );
  guard.check(seen(550), 550);
  // one pixel of noise shows that the camera is alive
  for (let at = 600; at < 2000; at += 50) {
    const alive = { ...stuck, data: stuck.data.slice() };
    alive.data[at % 100] = at % 251;
    guard.check(seen(at, { wrist_image: alive }), at);
  }
  const simulator = guardOf({ frozenMs: Number.POSITIVE_INFINITY });
  for (let at = 0; at < 5000; at += 50) simulator.check(seen(at, { wrist_image: stuck }), at);
  // two observations that are far apart prove nothing
  const rare = guardOf();
  rare.check(seen(1, { wrist_image: stuck }), 0);
  rare.check(seen(2, { wrist_image: stuck }), 60_000);
});

test('exchanged cameras: between two observations, by size, against a reference, and one frame under two names', () => {
  const exchanged = (shot: number): Observation => ({
    images: { full_image: view(1, shot), wrist_image: view(0, shot) },
    state: [0.1, shot],
  });
  const guard = guardOf();
  guard.check(seen(0), 0);
  for (let shot = 1; shot < 4; shot++) {
    assert.is(
      codeOf(() => guard.check(exchanged(shot), shot * 50)),
      'CAMERA_EXCHANGED',
      'until they are put right',
    );
  }
  guard.check(seen(4), 200);
  guard.reset();
  guard.check(exchanged(5), 250);

  const bySize = guardOf();
  const small = (shot: number) => view(1, shot, { width: 32, height: 24 });
  bySize.check(seen(0, { wrist_image: small(0) }), 0);
  const swapped = { full_image: small(1), wrist_image: view(0, 1) };
  assert.is(
    codeOf(() => bySize.check(seen(1, swapped), 50)),
    'CAMERA_EXCHANGED',
  );

  const known = guardOf({ reference: seen(900) });
  assert.is(
    codeOf(() => known.check(exchanged(1), 0)),
    'CAMERA_EXCHANGED',
    'from the start',
  );
  known.check(seen(1), 50);
  const one = view(0, 6);
  assert.is(
    codeOf(() =>
      guardOf().check(seen(0, { full_image: one, wrist_image: { ...one, data: one.data.slice() } }), 0),
    ),
    'CAMERA_DUPLICATE',
  );
});

test('the scene may change at once, as at the start of an episode', () => {
  const guard = guardOf();
  guard.check(seen(0), 0);
  const other = (shot: number) => ({ ...view(0, shot), data: view(0, shot).data.map((v) => 255 - v) });
  guard.check(seen(1, { full_image: other(1), wrist_image: view(5, 1) }), 50);
});

/** Counts what `body` reads of each frame: single bytes, and bytes in blocks. A frame's memory is reached by no other way. */
function countReads(
  frames: Readonly<Record<string, ImageFrame>>,
  body: (counted: Readonly<Record<string, ImageFrame>>) => void,
): { single: number; compared: number; copied: number } {
  const reads = { single: 0, compared: 0, copied: 0 };
  const targets = new WeakMap<Uint8Array, Uint8Array>();
  const plain = (bytes: Uint8Array): Uint8Array => targets.get(bytes) ?? bytes;
  const watched = (data: Uint8Array): Uint8Array => {
    const proxy = new Proxy(data, {
      get(target, key) {
        if (typeof key === 'string' && /^\d+$/.test(key)) reads.single++;
        const value = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    targets.set(proxy, data);
    return proxy;
  };
  const { compare } = Buffer;
  const { set } = Uint8Array.prototype;
  Buffer.compare = (a, b) => {
    reads.compared += Math.min(a.length, b.length);
    return compare(plain(a), plain(b));
  };
  Uint8Array.prototype.set = function (from, at) {
    reads.copied += from.length;
    set.call(this, from, at);
  };
  try {
    body(
      Object.fromEntries(
        Object.entries(frames).map(([name, frame]) => [name, { ...frame, data: watched(frame.data) }]),
      ),
    );
  } finally {
    Buffer.compare = compare;
    Uint8Array.prototype.set = set;
  }
  return reads;
}

test('a check reads 64 x 64 pixels a frame one by one, and compares and copies at most 256 KiB of it', () => {
  for (const [width, height] of [
    [224, 224],
    [1920, 1080],
  ] as const) {
    const size = width * height * 3;
    const images = {
      full_image: view(0, 1, { width, height }),
      wrist_image: view(1, 1, { width, height }),
    };
    const guard = guardOf();
    guard.check({ images, state: [0] }, 0);
    // the last byte alone is new: all others are compared before the frame is known to be another
    for (const { data } of Object.values(images)) data[size - 1]! ^= 1;
    const reads = countReads(images, (counted) => guard.check({ images: counted, state: [0] }, 1));
    const block = Math.min(size, 256 * 1024);
    // each frame with its last one, and one camera's with the other's, which differ at their first byte
    assert.equal(reads, { single: 2 * 64 * 64 * 3, compared: 2 * block + size, copied: 2 * block });
    assert.not.equal(images.full_image.data[0], images.wrist_image.data[0]);
  }
});

test('repeated and backward timestamps', () => {
  const guard = guardOf();
  const first = seen(0);
  guard.check(first, 100);
  guard.check(first, 100);
  assert.is(
    codeOf(() => guard.check(seen(1), 100)),
    'OBSERVATION_REPEATED',
  );
  assert.is(
    codeOf(() => guard.check(seen(2), 99)),
    'OBSERVATION_REPEATED',
  );
  assert.is(
    codeOf(() => guard.check(seen(3), Number.NaN)),
    'OBSERVATION_INVALID',
  );
  guard.check(seen(4), 101);
});

test('a wall clock that jumps an hour, either way, changes nothing', () => {
  const now = Date.now;
  try {
    const guard = guardOf();
    for (let shot = 0; shot < 60; shot++) {
      Date.now = () => now() + (shot % 3) * 3_600_000 - 3_600_000;
      guard.check(seen(shot), shot * 20);
    }
  } finally {
    Date.now = now;
  }
});

test('no observation at all is passed by accident: random values are refused or of the right shape', () => {
  const anything = fc.anything({ withTypedArray: true, withBigInt: true, withNullPrototype: true });
  fc.assert(
    fc.property(anything, anything, anything, (full, wrist, state) => {
      const code = codeOf(() =>
        guardOf({ stateLength: 2 }).check(
          {
            images: { full_image: full as ImageFrame, wrist_image: wrist as ImageFrame },
            state: state as number[],
          },
          0,
        ),
      );
      assert.match(code, /^(IMAGE_|STATE_|CAMERA_|OBSERVATION_)/);
    }),
    { numRuns: 300 },
  );
});

/** A policy that returns what it is told to. */
function fixedPolicy(actions: () => Float64Array, shape: readonly [number, number]): Policy {
  const dimensions = Array.from({ length: 7 }, (_, i) => `d${i}`);
  return {
    platform: {
      name: 'custom',
      cameras,
      proprio: true,
      centerCrop: false,
      jpeg: false,
      chunk: shape[0],
      normalization: 'minmax',
    },
    dimensions,
    variant: 'fixed',
    imageSize: 224,
    patchGrid: 16,
    notices: [],
    async predict(_observation, { instruction }): Promise<ActionChunk> {
      return {
        actions: actions(),
        normalized: new Float32Array(0),
        shape,
        dimensions,
        keptPatches: {},
        similarity: {},
        timings: {},
        instruction,
        unnormKey: 'fixed',
      };
    },
    stages: async () => new Map(),
    close: async () => {},
    async [Symbol.asyncDispose]() {},
  };
}

test('a guarded policy: refused observations never reach it, chunks that no robot may get never leave it', async () => {
  let asked = 0;
  let value = 0.5;
  let shape: readonly [number, number] = [8, 7];
  const inner = fixedPolicy(() => {
    asked++;
    return new Float64Array(56).fill(value);
  }, [8, 7]);
  const policy = guardPolicy({
    ...inner,
    predict: async (observation, options) => ({ ...(await inner.predict(observation, options)), shape }),
  });
  const predict = async (observation: Observation): Promise<string> => {
    try {
      await policy.predict(observation, { instruction: 'go' });
      return 'none';
    } catch (error) {
      return (error as SemanticVlaError).code;
    }
  };
  assert.is(await predict(seen(1)), 'none');
  assert.is(await predict(seen(2, {}, [Number.NaN, 1])), 'STATE_INVALID');
  assert.is(asked, 1);
  value = Number.NaN;
  assert.is(await predict(seen(3)), 'ACTION_NOT_FINITE');
  value = 0.5;
  shape = [7, 8];
  assert.is(await predict(seen(4)), 'CHUNK_INVALID');
});

test('fuzzed heads: of 10 million values no non-finite one leaves', async () => {
  const [rows, columns] = [1000, 7];
  const size = rows * columns;
  const bits = new Uint32Array(size);
  const values = new Float32Array(bits.buffer);
  const next = random(20);
  const bounds = {
    mask: [true, true, true, true, true, true, false],
    min: new Array(7).fill(-1),
    max: new Array(7).fill(1),
    q01: [-0.7, -1e3, -1e-9, 0, -3, -2, 0],
    q99: [0.9, 1e3, 1e-9, 1e30, 3, 2, 1],
    mean: new Array(7).fill(0),
    std: new Array(7).fill(1),
  } as unknown as Parameters<typeof unnormalizeActions>[1];
  let actions = new Float64Array(0);
  const policy = guardPolicy(
    fixedPolicy(() => actions, [rows, columns]),
    { takenAt: () => time++ },
  );
  let time = 0;
  let [refused, passed] = [0, 0];
  for (let round = 0; round * size < 10_000_000; round++) {
    // any bit pattern; every other round only finite ones but one, so that both ways are taken
    for (let i = 0; i < size; i++) bits[i] = next() * 2 ** 32;
    if (round % 2 === 1) {
      for (let i = 0; i < size; i++) if (!Number.isFinite(values[i])) bits[i] = bits[i]! & 0x807fffff;
      if (round % 4 === 3) bits[Math.floor(next() * size)] = 0x7f800000 | (next() < 0.5 ? 0 : 0x80000001);
    }
    const expected = values.every(Number.isFinite);
    // the head's own way out first, then the guard alone with the same values
    const head = codeOf(() => {
      const out = unnormalizeActions(values, bounds, 'q99');
      assert.ok(out.every(Number.isFinite));
    });
    assert.is(head, expected ? 'none' : 'ACTION_NOT_FINITE');
    actions = Float64Array.from(values);
    try {
      const chunk = await policy.predict(seen(round % 50), { instruction: 'go' });
      assert.ok(expected && chunk.actions.every(Number.isFinite));
      passed++;
    } catch (error) {
      if (!(error instanceof SemanticVlaError)) throw error;
      assert.is(error.code, 'ACTION_NOT_FINITE');
      assert.not(expected);
      refused++;
    }
  }
  assert.ok(refused > 300 && passed > 300, `${refused} refused, ${passed} passed`);
});

test.run();
