/**
 * The addon's frontier: every native type on one screen, and the only place that loads the compiled file. Callers
 * validate and word their errors before they call; native code only throws on what would read outside memory.
 */

import { createRequire } from 'node:module';
import { SemanticVlaError } from './errors.ts';

/** [height, width, 3] uint8. */
export interface NativeFrame {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly bgr: boolean;
}

export interface NativePreprocessOptions {
  /** Side S of the square policy image. */
  readonly imageSize: number;
  readonly centerCrop: boolean;
  readonly jpeg: boolean;
  /** Threads at work, >= 1. */
  readonly threads: number;
  /** Give `resized` back too. */
  readonly keepSteps: boolean;
}

export interface NativePreprocessed {
  /** [I, S, S, 3] uint8 RGB. */
  readonly images: Uint8Array;
  /** With `keepSteps`, per frame [224, 224, 3] after JPEG and resize; null where the frame has that size already. */
  readonly resized?: readonly (Uint8Array | null)[];
}

export interface NativeAddon {
  /** Off the JS thread, on a thread that the addon owns; frames are copied before it returns. */
  preprocessImages(
    frames: readonly NativeFrame[],
    options: NativePreprocessOptions,
  ): Promise<NativePreprocessed>;
  /** Single steps on [height, width, 3] RGB, on the JS thread: to check one by itself. */
  jpegRoundTrip(rgb: Uint8Array, width: number, height: number): Uint8Array;
  lanczosResize(
    rgb: Uint8Array,
    width: number,
    height: number,
    outWidth: number,
    outHeight: number,
  ): Uint8Array;
  pillowBicubic(
    rgb: Uint8Array,
    width: number,
    height: number,
    outWidth: number,
    outHeight: number,
  ): Uint8Array;
  /** [count, imageSize, imageSize, 3] uint8 to [count, 3, imageSize, imageSize] float32. */
  normalizePixels(
    images: Uint8Array,
    count: number,
    imageSize: number,
    mean: readonly number[],
    std: readonly number[],
  ): Float32Array;
}

/** The keys of `NativeAddon`, for the test that compares them with what the compiled file exports. */
export const nativeKeys: Readonly<Record<keyof NativeAddon, true>> = {
  jpegRoundTrip: true,
  lanczosResize: true,
  normalizePixels: true,
  pillowBicubic: true,
  preprocessImages: true,
};

// Relative to lib/ and to dist/ alike.
const addonPath = '../build/Release/semanticvla.node';
let loaded: NativeAddon | undefined;

/**
 * The compiled addon, loaded at the first call, so that importing the package works on a machine without it.
 *
 * @throws ADDON_NOT_BUILT with the command that builds it.
 */
export function loadAddon(): NativeAddon {
  if (loaded === undefined) {
    try {
      loaded = createRequire(import.meta.url)(addonPath) as NativeAddon;
    } catch (cause) {
      throw notBuilt(cause);
    }
  }
  return loaded;
}

function notBuilt(cause: unknown): SemanticVlaError {
  const reason = cause instanceof Error ? cause.message.split('\n', 1)[0] : String(cause);
  const missing = (cause as NodeJS.ErrnoException | null)?.code === 'MODULE_NOT_FOUND';
  return new SemanticVlaError(
    'ADDON_NOT_BUILT',
    missing
      ? 'The native addon: expected build/Release/semanticvla.node in the package, found none (installed with scripts blocked?). Build it with: npm rebuild semanticvla, or in a clone: node scripts/install.mjs'
      : `The native addon: expected build/Release/semanticvla.node to load, found: ${reason}. Build it again for this Node and machine with: npm rebuild semanticvla, or in a clone: node scripts/install.mjs`,
    { cause },
  );
}
