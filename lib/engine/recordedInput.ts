/** Observations with which engines are checked: the same numbers on every machine. */

import type { PolicyConfig } from '../checkpoint/policyConfig.ts';
import type { InstructionInput } from '../runtime/session.ts';
import { preprocessImages } from '../transforms/image.ts';
import type { ImageFrame } from '../types.ts';

export interface Recorded {
  readonly instruction: InstructionInput;
  /** One per camera. */
  readonly frames: readonly ImageFrame[];
  readonly jpeg: boolean;
  readonly centerCrop: boolean;
  readonly proprio: Float32Array | null;
  /** Of a diffusion policy. */
  readonly noise?: Float32Array;
}

export interface CheckSizes {
  readonly images: number;
  readonly proprio: boolean;
  readonly chunk: number;
  readonly actionDim: number;
}

/** Frames by turns: a size that is a multiple of JPEG's blocks, and one that is not, in BGR. */
const cameras = [
  { width: 256, height: 256, order: 'rgb', centerCrop: true },
  { width: 321, height: 243, order: 'bgr', centerCrop: false },
] as const;

/** The n-th recorded input. */
export function recordedInput(
  config: PolicyConfig,
  sizes: CheckSizes,
  promptLength: number,
  n: number,
): Recorded {
  const random = generator(n + 1);
  const whole = (below: number): number => Math.floor(random() * below);
  const { llama, proprioDim } = config;
  const sampler = config.siglip.sampler ?? config.dinov2.sampler;
  const isAutoregressive = config.head.kind === 'autoregressive';
  const words = Array.from({ length: promptLength - 1 }, () => 3 + whole(llama.vocabSize - 3));
  const promptIds = [1, ...words, ...(isAutoregressive ? [] : [2])];
  const siglipIds =
    sampler === null
      ? null
      : Array.from({ length: sampler.textEncoder.positions }, (_, i) =>
          i < promptLength ? 2 + whole(sampler.textEncoder.vocabSize - 2) : 1,
        );
  const { width, height, order, centerCrop } = cameras[n % cameras.length]!;
  const frames = Array.from({ length: sizes.images }, () => ({
    data: picture(width, height, random),
    width,
    height,
    order,
  }));
  const proprio =
    sizes.proprio && proprioDim !== null
      ? Float32Array.from({ length: proprioDim }, () => random() * 2 - 1)
      : null;
  const noise =
    config.head.kind === 'diffusion'
      ? { noise: Float32Array.from({ length: sizes.chunk * sizes.actionDim }, () => random() * 4 - 2) }
      : {};
  return { instruction: { promptIds, siglipIds }, frames, jpeg: true, centerCrop, proprio, ...noise };
}

/** The frames as the CPU preprocesses them: [I, S, S, 3] uint8 RGB. */
export function recordedImages(
  { frames, jpeg, centerCrop }: Pick<Recorded, 'frames' | 'jpeg' | 'centerCrop'>,
  { imageSize }: Pick<PolicyConfig, 'imageSize'>,
  threads: number,
): Promise<Uint8Array> {
  return preprocessImages(frames, { imageSize, centerCrop, jpeg, threads });
}

/** Shaded rectangles on a gradient: smooth and sharp parts, like a camera's. [height, width, 3] */
function picture(width: number, height: number, random: () => number): Uint8Array {
  const pixels = new Uint8Array(height * width * 3);
  const paint = (
    [left, top, right, bottom]: readonly number[],
    color: (x: number, y: number, c: number) => number,
  ): void => {
    const endRow = Math.min(height, Math.ceil(bottom! * height));
    const endColumn = Math.min(width, Math.ceil(right! * width));
    for (let row = Math.ceil(top! * height); row < endRow; row++) {
      for (let column = Math.ceil(left! * width); column < endColumn; column++) {
        const at = (row * width + column) * 3;
        for (let c = 0; c < 3; c++)
          pixels[at + c] = Math.min(255, Math.floor(color(column / width, row / height, c) * 256));
      }
    }
  };
  paint([0, 0, 1, 1], (x, y, c) => (c === 0 ? x : c === 1 ? y : 1 - (x + y) / 2));
  for (let i = 0; i < 12; i++) {
    const [left, top, wide, tall, ...own] = Array.from({ length: 7 }, random) as [
      ...[number, number, number, number],
      ...number[],
    ];
    paint([left, top, left + wide / 2, top + tall / 2], (x, _, c) => own[c]! * (0.5 + 0.5 * x));
  }
  return pixels;
}

/** mulberry32: [0, 1) */
function generator(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
