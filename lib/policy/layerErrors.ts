/** How far each 8-bit layer is from its float32 one on recorded activations: both are computed from the same input. */

import type { OpenCheckpointOptions } from '../checkpoint/checkpoint.ts';
import { errorPrefix } from '../graph/int8.ts';
import type { Tier } from '../graph/tiers.ts';
import { OnnxSession } from '../runtime/onnxRuntime.ts';
import { present } from '../support/options.ts';
import { preprocessImages } from '../transforms/image.ts';
import { pickFrames } from '../transforms/pickFrames.ts';
import { encodePrompt } from '../transforms/prompt.ts';
import { normalizeProprio } from '../transforms/proprio.ts';
import type { Observation, PolicyOptions } from '../types.ts';
import { instructionInput } from './actionValues.ts';
import { buildModels, defaultWeights, int8Of, quantizeModels, sessionModels } from './cpuModels.ts';
import { startNoise } from './denoising.ts';
import { resolveUnnormKey } from './platform.ts';
import { preprocessingOf } from './policyInput.ts';
import type { PolicyParts } from './policyParts.ts';
import type { LayerError } from './precisionGate.ts';
import { type CpuPrecision, cpuWeightsOf, type RoundedPrecision } from './runtimeOptions.ts';

/** An observation and what the robot was told. */
export interface ObservedTask {
  readonly observation: Observation;
  readonly instruction: string;
}

/** Signal and noise are summed over the observations. Of an engine's tier the same graph, in float32 on the CPU. */
export async function layerErrors(
  parts: PolicyParts,
  precision: RoundedPrecision,
  tasks: readonly ObservedTask[],
  options: Pick<PolicyOptions, 'backend' | 'weights' | 'unnormKey'> &
    Pick<OpenCheckpointOptions, 'cacheDir' | 'onProgress' | 'signal'>,
): Promise<LayerError[]> {
  const { checkpoint, platform, threads, tokenizers, promptLimits, promptStyle } = parts;
  const { signal } = options;
  // what engines bind is no way in which the CPU holds weights; each is used a few times
  const weights =
    options.backend === 'tensorrt'
      ? 'mapped'
      : (cpuWeightsOf(options) ?? defaultWeights(checkpoint, 'float32'));
  const rounding =
    options.backend === 'tensorrt'
      ? { tier: precision as Tier, comparesTier: true }
      : { int8: int8Of(precision as CpuPrecision, true)! };
  const plain = buildModels(parts, rounding);
  const models = await quantizeModels(plain, checkpoint, options);
  const session = await OnnxSession.open({
    ...sessionModels(models, parts),
    ...{ threads, weights, files: models.files },
    ...(signal === undefined ? {} : { signal }),
  });
  const sums = new Map<string, { signal: number; noise: number }>();
  const add = (outputs: Readonly<Record<string, { readonly data: ArrayLike<number | bigint> }>>): void => {
    for (const [name, { data }] of Object.entries(outputs)) {
      if (!name.startsWith(errorPrefix)) continue;
      const layer = name.slice(errorPrefix.length);
      const sum = sums.get(layer) ?? { signal: 0, noise: 0 };
      sums.set(layer, { signal: sum.signal + Number(data[0]), noise: sum.noise + Number(data[1]) });
    }
  };
  try {
    for (const { observation, instruction: text } of tasks) {
      const prompt = encodePrompt(tokenizers, text, promptLimits, promptStyle);
      const state = await session.encodeInstruction(instructionInput(parts, prompt), signal);
      add(state.stages);
      const frames = pickFrames(observation, platform.cameras);
      const images = await preprocessImages(frames, preprocessingOf(parts));
      const key = resolveUnnormKey(checkpoint, options.unnormKey);
      const proprio = platform.proprio
        ? normalizeProprio(
            observation.state!,
            checkpoint.statistics.get(key)!.proprio!,
            platform.normalization,
          )
        : null;
      const noise = startNoise(parts.diffusion, parts.sizes, {}, 0);
      const last = (parts.diffusion?.inference ?? 0) - 1;
      const input = { images, proprio, ...present({ noise }) };
      const run = session.runRaw(input, state, signal, (step, outputs) => {
        // the last step's come with those of the observation
        if (step < last) add(outputs);
      });
      add((await run).outputs);
      state.release();
    }
  } finally {
    await session.close();
  }
  return [...sums].map(([layer, { signal: s, noise }]) => ({
    layer,
    decibels: 10 * Math.log10(s / noise),
  }));
}
