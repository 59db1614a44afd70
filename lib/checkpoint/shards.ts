/** The safetensors shards of a checkpoint folder: `model.safetensors.index.json` + shards, or one `model.safetensors`. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { isThere } from '../support/fileAccess.ts';
import { readJsonFile } from './jsonFile.ts';
import { readSafetensors } from './safetensors.ts';
import { isJsonObject, type JsonObject } from './strictJson.ts';
import type { TensorView } from './tensorView.ts';

export const indexName = 'model.safetensors.index.json';
export const singleName = 'model.safetensors';
/** More shards than any checkpoint of this family has (a 7 B policy has 3 or 4). */
const maxShards = 1024;

export interface Shards {
  /** Absolute paths. */
  readonly files: readonly string[];
  readonly tensors: ReadonlyMap<string, TensorView>;
}

/** Headers of all shards of `dir`. The index and the shards must name exactly the same tensors. */
export async function readShards(dir: string): Promise<Shards> {
  const hasIndex = await isThere(join(dir, indexName), 'CHECKPOINT_FILE_MISSING');
  const hasSingle = await isThere(join(dir, singleName), 'CHECKPOINT_FILE_MISSING');
  if (hasIndex && hasSingle) {
    throw new SemanticVlaError(
      'CHECKPOINT_AMBIGUOUS',
      `${dir}: expected either ${indexName} with its shards or one ${singleName}, found both. Move one of them away.`,
    );
  }
  if (hasSingle) {
    const parsed = await readSafetensors(join(dir, singleName));
    return { files: [parsed.file], tensors: parsed.tensors };
  }
  if (!hasIndex) throw await noWeights(dir);
  return readIndexed(dir);
}

/** Suffixes of unfinished downloads. */
const unfinished = /\.(incomplete|part|partial|crdownload|aria2|tmp|download)$/;

async function noWeights(dir: string): Promise<SemanticVlaError> {
  const names = (await readdir(dir)).sort();
  const others: readonly (readonly [RegExp, string])[] = [
    [/^pytorch_model.*\.bin$/, 'save the model again with safe_serialization=True'],
    [/^model-\d+-of-\d+\.safetensors$/, `the shards without their index; copy ${indexName} too`],
    [/\.gguf$/, 'weights of llama.cpp, most often quantized; save the policy with save_pretrained'],
    [/^adapter_model\./, 'only a LoRA adapter, which must be merged into its base model first'],
    [/^(tf_model\.h5|flax_model\.msgpack)$/, 'weights of another framework; save the policy with PyTorch'],
    [unfinished, 'a download that is not finished; run it again'],
  ];
  const found = others.map(([pattern, next]) => [names.filter((name) => pattern.test(name)), next] as const);
  const [files, next] = found.find(([some]) => some.length > 0) ?? [[], ''];
  const hint =
    files.length > 0
      ? `found ${files.slice(0, 5).join(', ')}: ${next}`
      : 'found neither; copy the whole checkpoint folder (a folder with only a LoRA adapter must be merged first)';
  return new SemanticVlaError(
    'CHECKPOINT_FILE_MISSING',
    `${dir}: expected ${indexName} with its shards, or ${singleName}; ${hint}.`,
  );
}

async function unfinishedInWords(dir: string): Promise<string> {
  const names = (await readdir(dir)).filter((name) => unfinished.test(name));
  return names.length === 0 ? '' : ` (but a download that is not finished: ${names.slice(0, 3).join(', ')})`;
}

/** Names of the shards that an index lists, sorted. @throws (rejects) as readShards */
export async function indexedShards(path: string): Promise<string[]> {
  return shardNames(path, await readWeightMap(path));
}

function shardNames(path: string, weightMap: JsonObject): string[] {
  const names = new Set<string>();
  for (const [tensor, shard] of Object.entries(weightMap)) {
    if (typeof shard !== 'string')
      throw invalid(path, `weight_map.${tensor.slice(0, 120)} is not a file name`);
    // A plain name in the same folder; everything that could leave it is refused.
    if (!/^[^/\\\0]+\.safetensors$/.test(shard) || shard.startsWith('.') || shard.length > 255) {
      throw invalid(
        path,
        `expected shards to be plain *.safetensors names in the same folder, found ${JSON.stringify(shard.slice(0, 200))}`,
      );
    }
    names.add(shard);
  }
  if (names.size === 0) throw invalid(path, 'weight_map is empty');
  if (names.size > maxShards)
    throw invalid(path, `expected at most ${maxShards} shards, found ${names.size}`);
  return [...names].sort();
}

async function readIndexed(dir: string): Promise<Shards> {
  const path = join(dir, indexName);
  const weightMap = await readWeightMap(path);
  const names = shardNames(path, weightMap);

  const tensors = new Map<string, TensorView>();
  const files: string[] = [];
  for (const shard of names) {
    const file = join(dir, shard);
    if (!(await isThere(file, 'CHECKPOINT_FILE_MISSING'))) {
      throw new SemanticVlaError(
        'CHECKPOINT_FILE_MISSING',
        `${file}: expected the shard that ${indexName} names, found none${await unfinishedInWords(dir)}. Copy the missing file from the training machine, or download it again.`,
      );
    }
    files.push(file);
    for (const [name, view] of (await readSafetensors(file)).tensors) {
      if (tensors.has(name))
        throw invalid(path, `tensor ${name} lies in two shards, ${tensors.get(name)?.file} and ${file}`);
      const listed = Object.hasOwn(weightMap, name) ? weightMap[name] : undefined;
      if (listed !== shard) {
        throw invalid(
          path,
          `tensor ${name} lies in ${shard}, but the index ${listed === undefined ? 'does not name it' : `says ${String(listed)}`}`,
        );
      }
      tensors.set(name, view);
    }
  }
  for (const [name, shard] of Object.entries(weightMap)) {
    if (!tensors.has(name))
      throw invalid(path, `tensor ${name} should lie in ${String(shard)}, but is not there`);
  }
  return { files, tensors };
}

async function readWeightMap(path: string): Promise<JsonObject> {
  const value = await readJsonFile(path, {
    missing: 'CHECKPOINT_FILE_MISSING',
    invalid: 'SAFETENSORS_INDEX_INVALID',
  });
  const weightMap = isJsonObject(value) ? value.weight_map : undefined;
  if (!isJsonObject(weightMap)) throw invalid(path, 'expected an object `weight_map`');
  return weightMap;
}

function invalid(path: string, problem: string): SemanticVlaError {
  return new SemanticVlaError(
    'SAFETENSORS_INDEX_INVALID',
    `${path}: ${problem}. Copy or export the checkpoint again.`,
  );
}
