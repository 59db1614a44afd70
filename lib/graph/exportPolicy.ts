/**
 * `export`: both graphs as ONNX files that other tools open (viewers, trtexec, ONNX Runtime, onnx.checker). Weights stay
 * in the checkpoint's own files; only what merging LoRA made is written.
 *
 * Tools accept external data inside the model's folder. A checkpoint that can be written to therefore gets the models
 * beside its shards (`out` = the checkpoint folder): plain files, nothing linked. Weight files that lie elsewhere (another
 * `out`; the merged LoRA in its cache) get one link each: hard links are taken by ONNX Runtime and refused by onnx.checker,
 * symbolic ones are taken by TensorRT and refused by both.
 */

import { link, open, realpath, rename, rm, stat, symlink } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { SemanticVlaError } from '../errors.ts';
import { makeFolder } from '../support/makeFolder.ts';
import type { GraphOptions } from './graphContext.ts';
import { buildInstructionGraph } from './instructionGraph.ts';
import { encodeModel, externalFiles, type OnnxModel } from './onnxModel.ts';
import { buildPolicyGraph } from './policyGraph.ts';

export interface ExportOptions {
  /** Folder for `instruction.onnx` and `policy.onnx`; default: the checkpoint folder. */
  readonly out?: string;
  /** How weight files outside `out` are made visible in it; default `hard`. */
  readonly link?: 'hard' | 'symbolic';
  readonly sizes: Pick<GraphOptions, 'images' | 'chunk' | 'actionDim' | 'proprio'>;
  readonly signal?: AbortSignal;
}

export interface ExportedModel {
  readonly file: string;
  readonly bytes: number;
  readonly nodes: number;
  readonly initializers: number;
  readonly inputs: number;
  readonly outputs: number;
}

export interface ExportReport {
  readonly out: string;
  readonly instruction: ExportedModel;
  readonly policy: ExportedModel;
  /** Weight files by the name the models use; `how` they got there. */
  readonly weights: readonly {
    readonly location: string;
    readonly file: string;
    readonly bytes: number;
    readonly how: 'in place' | 'hard link' | 'symbolic link';
  }[];
}

type WeightFile = ExportReport['weights'][number];

/** @throws (rejects) OUTPUT_UNWRITABLE, TENSOR_*, or the signal's reason */
export async function exportPolicy(checkpoint: Checkpoint, options: ExportOptions): Promise<ExportReport> {
  const { config, tensors, pixelNormalization } = checkpoint;
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
  const weights = new Map<string, WeightFile>();
  for (const file of files) {
    options.signal?.throwIfAborted();
    weights.set(file, await placeWeights(file, out, options.link ?? 'hard', weights));
  }
  const locate = (file: string): string => weights.get(file)!.location;
  return {
    out,
    instruction: await writeModel(join(out, 'instruction.onnx'), models.instruction, locate),
    policy: await writeModel(join(out, 'policy.onnx'), models.policy, locate),
    weights: [...weights.values()],
  };
}

async function placeWeights(
  file: string,
  out: string,
  mode: 'hard' | 'symbolic',
  taken: ReadonlyMap<string, WeightFile>,
): Promise<WeightFile> {
  const { size } = await stat(file);
  const inside = relative(await realpath(out), await realpath(dirname(file)));
  const escapes = inside.startsWith('..') || isAbsolute(inside);
  if (!escapes) return { location: join(inside, basename(file)), file, bytes: size, how: 'in place' };
  const location = freeName(
    basename(file),
    [...taken.values()].map((w) => w.location),
  );
  const target = join(out, location);
  await rm(target, { force: true });
  try {
    if (mode === 'symbolic') await symlink(file, target);
    else await link(await realpath(file), target);
  } catch (cause) {
    throw new SemanticVlaError(
      'OUTPUT_UNWRITABLE',
      `${target}: expected to make a ${mode} link to ${file}, found ${(cause as Error).message}. ` +
        'Hard links need the same file system and the right to write to the file: export into the checkpoint folder, ' +
        'or pass --link symbolic.',
      { cause },
    );
  }
  return { location, file, bytes: size, how: mode === 'hard' ? 'hard link' : 'symbolic link' };
}

function freeName(name: string, taken: readonly string[]): string {
  if (!taken.includes(name)) return name;
  let n = 2;
  while (taken.includes(`${n}-${name}`)) n += 1;
  return `${n}-${name}`;
}

/** Written beside its place and renamed into it, so that no reader ever sees half a model. */
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
      await handle.sync();
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
