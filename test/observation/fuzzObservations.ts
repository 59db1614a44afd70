/** Observations with one fault each, among sound ones, sent to a guarded policy; see fuzz.ts. */

import fc from 'fast-check';
import { guardPolicy } from '../../lib/observation/guardPolicy.ts';
import { parseLatency } from '../../lib/schedule/latency.ts';
import { simulatedPolicy } from '../../lib/schedule/simulatedPolicy.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { Random } from '../../lib/support/random.ts';
import type { ImageFrame, Observation } from '../../lib/types.ts';

const cameras = ['full_image', 'wrist_image'] as const;
const side = 224;
const joints = 8;
const stepMs = 50;

/** Changes a sound observation; says which codes may refuse it. */
interface Fault {
  readonly codes: RegExp;
  readonly change: (sound: Sound, random: Random) => Observation;
}

interface Sound {
  readonly images: Record<string, ImageFrame>;
  readonly state: number[];
}

const frameCodes = /^IMAGE_(INVALID|DTYPE)$/;

/** The frame of one camera replaced. */
function framed(codes: RegExp, change: (frame: ImageFrame, random: Random) => unknown): Fault {
  return {
    codes,
    change: ({ images, state }, random) => {
      const camera = random.pick(cameras);
      return { images: { ...images, [camera]: change(images[camera]!, random) as ImageFrame }, state };
    },
  };
}

function stated(change: (state: number[], random: Random) => unknown): Fault {
  return {
    codes: /^STATE_INVALID$/,
    change: ({ images, state }, random) => ({ images, state: change(state, random) as number[] }),
  };
}

const square = (width: number, height: number, channels = 3): ImageFrame => ({
  width,
  height,
  data: new Uint8Array(width * height * channels).fill(90),
});
const eightK = square(7680, 4320);
const odd = fc.anything({ withTypedArray: true, withBigInt: true, withNullPrototype: true });

const faults: Readonly<Record<string, Fault>> = {
  'state NaN or infinite': stated((state, random) =>
    state.with(random.integer(0, joints - 1), random.pick([Number.NaN, Infinity, -Infinity])),
  ),
  'state of other types': stated((state, random) =>
    random.pick([
      state.map(String),
      BigInt64Array.from(state, () => 1n),
      {},
      'state',
      null,
      [null, ...state],
    ]),
  ),
  'state of another length': stated((state, random) =>
    random.pick([[], state.slice(1), [...state, 0], undefined]),
  ),
  'RGBA, gray': framed(frameCodes, (_, random) => square(side, side, random.pick([1, 2, 4]))),
  '0x0, negative, fractional': framed(/^IMAGE_(INVALID|DTYPE|TOO_LARGE)$/, ({ data }, random) => {
    const [width, height] = random.pick([
      [0, 0],
      [0, side],
      [-side, -side],
      [side + 0.5, side],
      [Number.NaN, side],
      [2 ** 53, 1],
    ]);
    return { width, height, data: random.chance(0.5) ? data : new Uint8Array(0) };
  }),
  'wrong dtype': framed(frameCodes, ({ width, height, data }, random) => ({
    width,
    height,
    data: random.pick<unknown>([
      Float32Array.from(data),
      Array.from(data),
      data.buffer,
      Int8Array.from(data),
      '',
    ]),
  })),
  'bytes missing or too many': framed(frameCodes, ({ width, height, data }, random) => ({
    width,
    height,
    data: new Uint8Array(Math.max(0, data.length + random.pick([-1, 1, -data.length, side, -side * 3]))),
  })),
  '1 px, 8k, another size': framed(/^(IMAGE_INVALID|IMAGE_TOO_LARGE)$/, (_, random) =>
    random.pick([square(1, 1), eightK, square(side, side - 1), square(640, 480)]),
  ),
  black: framed(/^IMAGE_BLACK$/, ({ width, height }, random) => ({
    width,
    height,
    data: new Uint8Array(side * side * 3).fill(random.integer(0, 16)),
  })),
  'missing camera': {
    codes: /^(CAMERA_MISSING|IMAGE_INVALID)$/,
    change: ({ images, state }, random) => {
      const camera = random.pick(cameras);
      const { [camera]: gone, ...rest } = images;
      return {
        images: random.pick<object>([rest, { ...rest, [camera]: undefined }, { ...rest, other: gone }, {}]),
        state,
      } as Observation;
    },
  },
  'swapped cameras': {
    codes: /^CAMERA_EXCHANGED$/,
    change: ({ images, state }) => ({
      images: { full_image: images.wrist_image!, wrist_image: images.full_image! },
      state,
    }),
  },
  'one camera twice': {
    codes: /^CAMERA_DUPLICATE$/,
    change: ({ images, state }, random) => {
      const one = images[random.pick(cameras)]!;
      return { images: { full_image: one, wrist_image: { ...one, data: one.data.slice() } }, state };
    },
  },
  'anything at all': {
    codes: /^(IMAGE|STATE|CAMERA|OBSERVATION)_/,
    change: (sound, random) => {
      const [a, b, c] = fc.sample(odd, { numRuns: 3, seed: random.integer(0, 2 ** 31 - 1) });
      const whole = { images: { ...sound.images, [random.pick(cameras)]: a }, state: sound.state };
      return random.pick<unknown>([
        whole,
        { images: { full_image: a, wrist_image: b }, state: c },
        { images: a },
        b,
      ]) as Observation;
    },
  },
};

function soon(_: number, answer: () => void): () => void {
  queueMicrotask(answer);
  return () => {};
}

/** Views of one camera: a scene of its own under noise. */
function views(camera: number, random: Random): ImageFrame[] {
  return Array.from({ length: 8 }, () => ({
    width: side,
    height: side,
    data: Uint8Array.from({ length: side * side * 3 }, (_, i) => {
      const [x, y] = [Math.floor(i / 3) % side, Math.floor(i / 3 / side)];
      return 20 + (camera === 0 ? (x * 200) / side : 200 - (y * 180) / side) + random.next() * 8;
    }),
  }));
}

/** @returns faults that were let through or answered with another code, and sound observations that were refused */
export async function fuzzObservations(seconds: number, seed: number): Promise<number> {
  const random = new Random(seed);
  let asked = 0;
  let at = 0;
  const policy = guardPolicy(
    simulatedPolicy({
      dimensions: ['x'],
      chunk: 1,
      latency: parseLatency('constant(0)'),
      clock: { now: () => 0, at: soon },
      rows: () => Float64Array.of(++asked),
      platform: {
        name: 'custom',
        cameras: [...cameras],
        proprio: true,
        centerCrop: false,
        jpeg: false,
        chunk: 1,
        normalization: 'minmax',
      },
    }),
    { takenAt: () => at },
  );
  const scenes = cameras.map((_, camera) => views(camera, random));
  const sound = (): Sound => ({
    images: Object.fromEntries(cameras.map((camera, i) => [camera, noisy(random.pick(scenes[i]!), random)])),
    state: Array.from({ length: joints }, () => random.normal()),
  });
  let problems = 0;
  const times: number[] = [];
  const problem = (text: string): void => {
    problems++;
    if (problems <= 10) console.error(`FAILED --seed ${seed}: ${text}`);
  };
  /** Sends it and compares the outcome; null: it must be accepted. */
  const ask = async (name: string, observation: Observation, codes: RegExp | null): Promise<void> => {
    const before = asked;
    let code = 'none';
    const start = performance.now();
    try {
      await policy.predict(observation, { instruction: 'go' });
    } catch (error) {
      code = error instanceof SemanticVlaError ? error.code : String(error);
    }
    times.push(performance.now() - start);
    if (codes === null ? code !== 'none' : !codes.test(code)) problem(`${name}: ${code}`);
    if (asked - before !== (codes === null ? 1 : 0))
      problem(`${name}: asked the policy ${asked - before} times`);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  };
  const counts = new Map<string, number>();
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    policy.guard.reset();
    at += stepMs;
    await ask('sound', sound(), null);
    for (const name of Object.keys(faults)) {
      const { codes, change } = faults[name]!;
      at += stepMs;
      const observation = change(sound(), random);
      await ask(name, observation, codes);
      // the same one again: a later time does not make it right
      at += stepMs;
      await ask(name, observation, codes);
      at += stepMs;
      await ask('sound', sound(), null);
    }
    await askInTime(ask, sound, random, (ms) => {
      at += ms;
    });
  }
  const sorted = Float64Array.from(times).sort();
  const [p50, p99] = [0.5, 0.99].map((share) => sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(3));
  for (const [name, count] of counts) console.log(name.padEnd(28) + String(count).padStart(10));
  console.log(
    `${times.length} observations, ${asked} answered, ${problems} problems; a check p50 ${p50} ms, p99 ${p99} ms`,
  );
  return problems;
}

/** Faults of time: repeated, backward and no timestamps, and a camera that froze. */
async function askInTime(
  ask: (name: string, observation: Observation, codes: RegExp | null) => Promise<void>,
  sound: () => Sound,
  random: Random,
  pass: (ms: number) => void,
): Promise<void> {
  await ask('repeated timestamp', sound(), /^OBSERVATION_REPEATED$/);
  pass(-1);
  await ask('backward timestamp', sound(), /^OBSERVATION_REPEATED$/);
  pass(1 + stepMs);
  const stuck = sound().images;
  const camera = random.pick(cameras);
  for (let ms = 0; ms < 500; ms += stepMs) {
    const seen = sound();
    await ask('sound', { ...seen, images: { ...seen.images, [camera]: stuck[camera]! } }, null);
    pass(stepMs);
  }
  const seen = sound();
  await ask('frozen', { ...seen, images: { ...seen.images, [camera]: stuck[camera]! } }, /^IMAGE_FROZEN$/);
}

/** A copy with a few bytes changed: no two frames of a camera are alike. */
function noisy({ width, height, data }: ImageFrame, random: Random): ImageFrame {
  const copy = data.slice();
  for (let i = 0; i < 16; i++) copy[random.integer(0, copy.length - 1)] = random.integer(20, 220);
  return { width, height, data: copy };
}
