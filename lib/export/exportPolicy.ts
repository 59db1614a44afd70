/**
 * `export`: both graphs as ONNX files for other tools (viewers, trtexec, ONNX Runtime, onnx). Weights stay in the checkpoint's own
 * files if these are plain files in the models' folder; files elsewhere, and links, are copied (placeWeights.ts). The shipped
 * runtime opens what was written before the export counts as done.
 */

import { open, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Checkpoint, Progress } from '../checkpoint/checkpoint.ts';
import type { GraphOptions } from '../graph/graphContext.ts';
import { buildInstructionGraph } from '../graph/instructionGraph.ts';
import { encodeModel, externalFiles, type OnnxModel } from '../graph/onnxModel.ts';
import { buildPolicyGraph } from '../graph/policyGraph.ts';
import { openExported } from '../runtime/openExported.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { syncFile } from '../support/fileHandles.ts';
import { makeFolder } from '../support/makeFolder.ts';
import { placeWeights, type WeightFile } from './placeWeights.ts';

/** Where models are written, and how they refer to the weights. */
export interface ExportOptions {
  /** Folder for `instruction.onnx` and `policy.onnx`; default: the checkpoint folder. */
  readonly out?: string;
  /**
   * Link to the weight files that lie outside `out` instead of copying them. ONNX Runtime and TensorRT open `hard` links, `onnx`
   * refuses them; only TensorRT opens `symbolic` ones. Default: copies, which all of them open.
   */
  readonly link?: 'hard' | 'symbolic';
  readonly sizes: Pick<GraphOptions, 'images' | 'chunk' | 'actionDim' | 'proprio'>;
  /** Called while it lasts; must return quickly. */
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** One ONNX file. */
export interface ExportedModel {
  readonly file: string;
  readonly bytes: number;
  readonly nodes: number;
  readonly initializers: number;
  readonly inputs: number;
  readonly outputs: number;
}

/** The models written, and the weight files they refer to. */
export interface ExportReport {
  readonly out: string;
  readonly instruction: ExportedModel;
  readonly policy: ExportedModel;
  /** Weight files by the name used in the models; `how` says how each got there. */
  readonly weights: readonly WeightFile[];
  /** Whether the shipped ONNX Runtime opened both; false only with symbolic links, which it refuses. */
  readonly opened: boolean;
}

/**
 * Writes a policy as two ONNX models, `instruction.onnx` and `policy.onnx`, that refer to separate weight files.
 *
 * @throws (rejects) CONFIG_UNSUPPORTED a diffusion policy, OUTPUT_UNWRITABLE, OUTPUT_NO_SPACE, RUNTIME_FAILED if a written model does not open, or the signal's reason
 */
export async function exportPolicy(checkpoint: Checkpoint, options: ExportOptions): Promise<ExportReport> {
  const { config, tensors, pixelNormalization } = checkpoint;
  if (config.head.kind === 'diffusion') {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${checkpoint.dir}: expected a policy whose actions one graph computes, found a diffusion policy, which runs its denoiser many times: export writes no loop. Run it here (predict, serve).`,
    );
  }
  const graphOptions: GraphOptions = { ...options.sizes, stages: false, mergeWeights: false };
  const models = {
    instruction: buildInstructionGraph(config, tensors, graphOptions),
    policy: buildPolicyGraph(config, tensors, pixelNormalization, graphOptions),
  };
  const out = resolve(options.out ?? checkpoint.dir);
  await makeFolder(out).catch((cause: unknown) => {
    throw unwritable(out, cause);
  });
  const files = [...new Set([...externalFiles(models.instruction), ...externalFiles(models.policy)])];
  const weights = await placeWeights(files, out, options);
  const locate = (file: string): string => weights.get(file)!.location;
  const instruction = await writeModel(join(out, 'instruction.onnx'), models.instruction, locate);
  const policy = await writeModel(join(out, 'policy.onnx'), models.policy, locate);
  const opened = ![...weights.values()].some(({ how }) => how === 'symbolic link');
  if (opened) await openExported({ instruction: instruction.file, policy: policy.file }, options.signal);
  return { out, instruction, policy, weights: [...weights.values()], opened };
}

/** Writes a temporary file and renames it, so that no reader ever sees half a model. */
async function writeModel(
  file: string,
  model: OnnxModel,
  locate: (file: string) => string,
): Promise<ExportedModel> {
  const bytes = encodeModel(model, locate);
  const partial = `${file}.${process.pid}.partial`;
  try {
    const handle = await open(partial, 'w');
    try {
      await handle.writeFile(bytes);
      await syncFile(handle);
    } finally {
      await handle.close();
    }
    await rename(partial, file);
  } catch (cause) {
    await rm(partial, { force: true });
    throw unwritable(file, cause);
  }
  return {
    file,
    bytes: bytes.length,
    nodes: model.nodes.length,
    initializers: model.initializers.length,
    inputs: model.inputs.length,
    outputs: model.outputs.length,
  };
}

function unwritable(path: string, cause: unknown): SemanticVlaError {
  return new SemanticVlaError(
    'OUTPUT_UNWRITABLE',
    `${path}: expected to write the ONNX model there, found ${(cause as Error).message}. Choose another folder with --out.`,
    { cause },
  );
}
