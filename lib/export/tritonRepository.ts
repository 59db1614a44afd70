/**
 * A policy's baked engines as a model repository of Triton Inference Server: one model an engine, and an ensemble of both. The
 * form is that of `ModelConfig` in text (docs.nvidia.com, Triton, model configuration; backend `tensorrt`).
 */

import { createReadStream } from 'node:fs';
import { copyFile, open, rename, rm } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { OnnxModel, OnnxTypeName, ValueInfo } from '../graph/onnxModel.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { reason } from '../support/fileAccess.ts';
import { makeFolder } from '../support/makeFolder.ts';

export interface TritonEngine {
  readonly graph: OnnxModel;
  /** Open, with `bytes` bytes. */
  readonly plan: { readonly descriptor: number; readonly byteLength: number };
}

export interface TritonSource {
  readonly instruction: TritonEngine;
  readonly policy: TritonEngine;
  /** The module with the plugins that engines may call. */
  readonly library: string;
}

/** A folder that `tritonserver --model-repository` takes. */
export interface TritonReport {
  readonly out: string;
  /** In the order in which they run; the ensemble is last. */
  readonly models: readonly { readonly name: string; readonly bytes: number }[];
  /** What starts the server, as a command line. */
  readonly command: string;
}

const engines = ['instruction', 'policy'] as const;
const ensemble = 'semanticvla';

/**
 * Writes the repository. Files that are there are replaced; the folder is made.
 * @throws (rejects) OUTPUT_UNWRITABLE, or the signal's reason
 */
export async function writeTritonRepository(
  source: TritonSource,
  folder: string,
  signal?: AbortSignal,
): Promise<TritonReport> {
  const out = resolve(folder);
  const models: { name: string; bytes: number }[] = [];
  for (const name of engines) {
    const { graph, plan } = source[name];
    await writeText(join(out, name, 'config.pbtxt'), engineConfig(name, graph));
    await writeFrom(join(out, name, '1', 'model.plan'), plan.descriptor, signal);
    models.push({ name, bytes: plan.byteLength });
  }
  await writeText(
    join(out, ensemble, 'config.pbtxt'),
    ensembleConfig(source.instruction.graph, source.policy.graph),
  );
  // Triton wants a version of every model, also of one without files.
  await makeFolder(join(out, ensemble, '1')).catch((cause: unknown) => {
    throw unwritable(join(out, ensemble, '1'), cause);
  });
  models.push({ name: ensemble, bytes: 0 });
  // Every folder of a repository is a model: the library lies in one of them.
  const library = join(out, 'policy', basename(source.library));
  await replaceFile(library, (partial) => copyFile(source.library, partial));
  const command = `${registerVariable}=1 tritonserver --model-repository=${out} --backend-config=tensorrt,plugins=${library}`;
  return { out, models, command };
}

/** Triton opens a library of plugins and calls nothing in it; with this variable ours registers them itself. */
const registerVariable = 'SEMANTICVLA_REGISTER_PLUGINS';

const dataTypes: Partial<Record<OnnxTypeName, string>> = {
  float32: 'TYPE_FP32',
  float16: 'TYPE_FP16',
  bfloat16: 'TYPE_BF16',
  uint8: 'TYPE_UINT8',
  int8: 'TYPE_INT8',
  int32: 'TYPE_INT32',
  int64: 'TYPE_INT64',
  bool: 'TYPE_BOOL',
};

function engineConfig(name: string, graph: OnnxModel): string {
  return [
    `name: "${name}"`,
    'backend: "tensorrt"',
    'platform: "tensorrt_plan"',
    // one observation, one sentence: the engines have no dimension of a batch
    'max_batch_size: 0',
    ...graph.inputs.map((one) => tensor('input', one)),
    ...graph.outputs.map((one) => tensor('output', one)),
    'instance_group [ { kind: KIND_GPU count: 1 } ]',
    '',
  ].join('\n');
}

/** Both engines in one call. Tensors of one name are the same tensor. */
function ensembleConfig(instruction: OnnxModel, policy: OnnxModel): string {
  const between = new Set(instruction.outputs.map(({ name }) => name));
  const inputs = [...instruction.inputs, ...policy.inputs.filter(({ name }) => !between.has(name))];
  return [
    `name: "${ensemble}"`,
    'platform: "ensemble"',
    'max_batch_size: 0',
    ...inputs.map((one) => tensor('input', one)),
    ...policy.outputs.map((one) => tensor('output', one)),
    'ensemble_scheduling {',
    step('instruction', instruction),
    step('policy', policy),
    '}',
    '',
  ].join('\n');
}

function step(name: string, graph: OnnxModel): string {
  const maps = [
    ...graph.inputs.map((one) => `    input_map { key: "${one.name}" value: "${one.name}" }`),
    ...graph.outputs.map((one) => `    output_map { key: "${one.name}" value: "${one.name}" }`),
  ];
  return [`  step {`, `    model_name: "${name}"`, '    model_version: -1', ...maps, '  }'].join('\n');
}

function tensor(field: 'input' | 'output', { name, type, shape }: ValueInfo): string {
  const dataType = dataTypes[type];
  if (dataType === undefined) throw new Error(`tensor ${name}: Triton has no ${type}`);
  const dims = shape.map((n) => (typeof n === 'number' ? n : -1));
  // Triton has no tensors without dimensions: a number is a list of one, reshaped.
  const form = dims.length === 0 ? 'dims: [ 1 ] reshape { shape: [ ] }' : `dims: [ ${dims.join(', ')} ]`;
  return `${field} [ { name: "${name}" data_type: ${dataType} ${form} } ]`;
}

async function writeText(file: string, text: string): Promise<void> {
  await replaceFile(file, async (partial) => {
    const handle = await open(partial, 'w', 0o644);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
}

/** From the open plan, whose digest was checked: whatever its name means now. */
async function writeFrom(file: string, descriptor: number, signal: AbortSignal | undefined): Promise<void> {
  await replaceFile(file, async (partial) => {
    const handle = await open(partial, 'w', 0o644);
    const from = createReadStream('', { fd: descriptor, start: 0, autoClose: false, highWaterMark: 2 ** 20 });
    await pipeline(from, handle.createWriteStream({ flush: true }), { signal });
  });
}

/** Written beside and renamed, so that no server loads half a file. */
async function replaceFile(file: string, write: (partial: string) => Promise<void>): Promise<void> {
  const partial = `${file}.${process.pid}.partial`;
  try {
    await makeFolder(join(file, '..'));
    await write(partial);
    await rename(partial, file);
  } catch (cause) {
    await rm(partial, { force: true }).catch(() => {});
    if (cause instanceof Error && cause.name === 'AbortError') throw cause;
    throw unwritable(file, cause);
  }
}

function unwritable(path: string, cause: unknown): SemanticVlaError {
  return new SemanticVlaError(
    'OUTPUT_UNWRITABLE',
    `${path}: expected to write Triton's model repository there, found ${reason(cause)}. Choose another folder with --triton.`,
    { cause },
  );
}
