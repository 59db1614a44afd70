/**
 * Every named intermediate of one prediction, in computation order, with the names and shapes of the reference outputs.
 * Built from the same graphs as a prediction but without its shortcuts, in a separate session.
 */

import type { NamedTensors, TensorData } from '../addon/onnxMessages.ts';
import { stagePrefix } from '../graph/graphContext.ts';
import { names } from '../graph/names.ts';
import { OnnxSession, toInt32 } from '../runtime/onnxRuntime.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { present } from '../support/options.ts';
import { preprocessSteps } from '../transforms/image.ts';
import type { EncodedPrompt } from '../transforms/prompt.ts';
import type { ImageFrame, PolicyOptions, StageTensor } from '../types.ts';
import { actionsOf, instructionInput } from './actionValues.ts';
import { buildModels, int8Of, quantizeModels, sessionModels } from './cpuModels.ts';
import { preprocessingOf } from './policyInput.ts';
import type { PolicyParts } from './policyParts.ts';
import { cpuPrecisionOf } from './runtimeOptions.ts';
import { publishTokens, StepStages, without } from './stepStages.ts';

export interface StageInput {
  /** In the platform's order. */
  readonly frames: readonly ImageFrame[];
  /** Normalized; null without proprioception. */
  readonly proprio: Float32Array | null;
  readonly prompt: EncodedPrompt;
  readonly unnormKey: string;
  /** [C, A] of a diffusion policy. */
  readonly noise?: Float32Array;
  readonly signal?: AbortSignal;
}

/** Stages that have no camera dimension, as the graph publishes them. */
const notPerImage =
  /^(e_avg|film\.|siglip_text\.|dinov2\.siglip_text\.|proprio\.|llm\.|head\.|actions\.|vision_tokens$|generated\.)/;

/** In the precision of the policy. @param options as `loadPolicy` got them */
export async function computeStages(
  parts: PolicyParts,
  input: StageInput,
  options: Pick<PolicyOptions, 'precision' | 'cacheDir' | 'onProgress'>,
): Promise<Map<string, StageTensor>> {
  const { checkpoint, sizes, threads, spinUs } = parts;
  const { config, statistics } = checkpoint;
  const steps = await preprocessSteps(input.frames, preprocessingOf(parts));
  const int8 = int8Of(cpuPrecisionOf(options));
  const models = buildModels(parts, { stages: true, ...(int8 === undefined ? {} : { int8 }) });
  const hooks = present({ ...options, signal: input.signal });
  const placed =
    int8 === undefined
      ? { ...models, files: checkpoint.files }
      : await quantizeModels(models, checkpoint, hooks);
  const session = await OnnxSession.open({
    ...sessionModels(placed, parts),
    threads,
    ...(spinUs === undefined ? {} : { spinUs }),
    weights: 'mapped',
    files: placed.files,
    ...(input.signal === undefined ? {} : { signal: input.signal }),
  });
  try {
    const state = await session.encodeInstruction(instructionInput(parts, input.prompt), input.signal);
    const images = new Uint8Array(Buffer.concat(steps.map(({ cropped }) => cropped)));
    const { proprio, noise } = input;
    const chain = new StepStages(parts);
    const { outputs } = await session.runRaw(
      { images, proprio, ...present({ noise }) },
      state,
      input.signal,
      (step, made, before) => chain.add(step, made, before),
    );
    const stages = new Map<string, StageTensor>();
    publishImages(stages, steps, config.imageSize);
    publishPrompt(stages, input.prompt);
    publishGraph(stages, state.stages, sizes.images);
    if (input.proprio !== null) {
      stages.set('proprio.normalized', { dtype: 'F32', shape: [input.proprio.length], data: input.proprio });
    }
    publishGraph(stages, chain.isEmpty ? outputs : without(outputs, chain.names), sizes.images);
    for (const [name, tensor] of chain.stages) publishOne(stages, name, tensor);
    if (!stages.has('llm.attention_mask')) publishOpenMask(stages);
    const tokens = outputs[names.tokenIds];
    if (tokens !== undefined) publishTokens(stages, toInt32(tokens), config.head);
    const normalized = outputs[names.actions]!.data as Float32Array;
    if (!stages.has('actions.normalized'))
      stages.set('actions.normalized', {
        dtype: 'F32',
        shape: [sizes.chunk, sizes.actionDim],
        data: normalized,
      });
    const actions = actionsOf(
      parts,
      { actions: normalized, ...(tokens === undefined ? {} : { tokens: toInt32(tokens) }) },
      statistics.get(input.unnormKey)!.action,
    );
    stages.set('actions.unnormalized', {
      dtype: 'F32',
      shape: [sizes.chunk, sizes.actionDim],
      data: Float32Array.from(actions),
    });
    return stages;
  } finally {
    await session.close();
  }
}

function publishImages(
  stages: Map<string, StageTensor>,
  steps: readonly { readonly resized?: Uint8Array; readonly cropped: Uint8Array }[],
  size: number,
): void {
  for (const [i, { resized, cropped }] of steps.entries()) {
    if (resized !== undefined) {
      const side = Math.sqrt(resized.length / 3);
      stages.set(`image${i}.resized`, { dtype: 'U8', shape: [side, side, 3], data: resized });
    }
    stages.set(`image${i}.cropped`, { dtype: 'U8', shape: [size, size, 3], data: cropped });
  }
}

function publishPrompt(stages: Map<string, StageTensor>, prompt: EncodedPrompt): void {
  const { promptIds, siglipIds, siglipMask } = prompt;
  stages.set('prompt.ids', { dtype: 'I32', shape: [promptIds.length], data: Int32Array.from(promptIds) });
  if (siglipIds === null || siglipMask === null) return;
  stages.set('siglip_text.ids', {
    dtype: 'I32',
    shape: [siglipIds.length],
    data: Int32Array.from(siglipIds),
  });
  stages.set('siglip_text.mask', {
    dtype: 'U8',
    shape: [siglipMask.length],
    data: Uint8Array.from(siglipMask, Number),
  });
}

/** Cameras are a batch in the graph and separate tensors in the reference's names. */
function publishGraph(stages: Map<string, StageTensor>, outputs: NamedTensors, images: number): void {
  for (const [output, tensor] of Object.entries(outputs)) {
    if (!output.startsWith(stagePrefix)) continue;
    const name = output.slice(stagePrefix.length);
    const { dtype, data } = plain(tensor);
    if (notPerImage.test(name)) {
      // the graph keeps a leading 1 on vectors: [1, D] is the reference's [D]
      const shape =
        tensor.dims.length === 2 && tensor.dims[0] === 1 && vectorStage.test(name)
          ? tensor.dims.slice(1)
          : tensor.dims;
      stages.set(name, { dtype, shape, data });
      continue;
    }
    const n = data.length / images;
    for (let i = 0; i < images; i++) {
      stages.set(`image${i}.${name}`, {
        dtype,
        shape: tensor.dims.slice(1),
        data: data.slice(i * n, (i + 1) * n),
      });
    }
  }
}

const vectorStage = /^(e_avg|film\.|proprio\.)/;

function plain(tensor: TensorData): Pick<StageTensor, 'dtype' | 'data'> {
  switch (tensor.type) {
    case 'float32':
      return { dtype: 'F32', data: tensor.data };
    case 'int64':
      return { dtype: 'I32', data: toInt32(tensor) };
    case 'uint8':
      return { dtype: 'U8', data: tensor.data };
    default:
      throw new SemanticVlaError(
        'RUNTIME_FAILED',
        `a stage left the graph as ${tensor.type}, which no stage is`,
      );
  }
}

/** A tensor without a camera dimension, under its own name. */
function publishOne(stages: Map<string, StageTensor>, name: string, tensor: TensorData): void {
  const { dtype, data } = plain(tensor);
  stages.set(name, { dtype, shape: tensor.dims, data });
}

/** OpenVLA-OFT attends everywhere and its graph has no mask: the reference's tensor is all ones. */
function publishOpenMask(stages: Map<string, StageTensor>): void {
  const length = (stages.get('llm.inputs_embeds') ?? stages.get('step0.llm.inputs_embeds'))!.shape[0]!;
  stages.set('llm.attention_mask', {
    dtype: 'U8',
    shape: [length, length],
    data: new Uint8Array(length * length).fill(1),
  });
}
