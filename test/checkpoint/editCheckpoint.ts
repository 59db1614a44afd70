/** Changes to a private copy of a golden checkpoint. Only for tests. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readTensorBytes } from '../../lib/checkpoint/readTensor.ts';
import type { TensorDtype } from '../../lib/checkpoint/tensorView.ts';
import { readTorchArchive } from '../../lib/checkpoint/torchArchive.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { dict, type Part, pickle, tensor } from './pickleAssembler.ts';
import { entry, safetensors } from './safetensorsAssembler.ts';
import { torchArchive } from './zipAssembler.ts';

export type Json = Record<string, unknown>;

/** Rewrites a JSON file with what `change` returns; if it returns nothing, it has changed the value in place. */
export function editJson(dir: string, name: string, change: (value: Json) => Json | undefined): void {
  const path = join(dir, name);
  const value = JSON.parse(readFileSync(path, 'utf8')) as Json;
  writeFileSync(path, JSON.stringify(change(value) ?? value));
}

/** The object at a path of keys, to be modified. */
export function at(value: Json, ...keys: readonly string[]): Json {
  return keys.reduce((inner, key) => inner[key] as Json, value);
}

/** The one file whose name begins like this. */
export function fileNamed(dir: string, start: string): string {
  const name = readdirSync(dir).find((candidate) => candidate.startsWith(start));
  if (name === undefined) throw new Error(`no ${start}* in ${dir}`);
  return join(dir, name);
}

export interface PlainTensor {
  dtype: TensorDtype;
  shape: readonly number[];
  bytes: Uint8Array;
}

const storageTypes: Readonly<Record<TensorDtype, string>> = {
  F64: 'Double',
  F32: 'Float',
  F16: 'Half',
  BF16: 'BFloat16',
  I64: 'Long',
  I32: 'Int',
  I16: 'Short',
  I8: 'Char',
  U8: 'Byte',
  BOOL: 'Bool',
};

/** Reads a whole `.pt` file, lets `change` edit its tensors by name, and writes it again. */
export async function editArchive(
  file: string,
  change: (tensors: Map<string, PlainTensor>) => void,
): Promise<void> {
  const tensors = new Map<string, PlainTensor>();
  for (const [name, view] of (await readTorchArchive(file)).tensors) {
    tensors.set(name, { dtype: view.dtype, shape: view.shape, bytes: await readTensorBytes(view) });
  }
  change(tensors);
  const items: Record<string, Part> = {};
  const data: Record<string, Buffer> = {};
  let key = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    const elements = shape.reduce((product, size) => product * size, 1);
    items[name] = tensor({ type: `${storageTypes[dtype]}Storage`, key: String(key), elements, shape });
    data[String(key++)] = Buffer.from(bytes);
  }
  writeFileSync(file, torchArchive({ pickle: pickle(dict(items)), data }));
}

/** float32 tensor of this shape, every value `value`. */
export function filled(shape: readonly number[], value = 0): PlainTensor {
  const data = new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(value);
  return { dtype: 'F32', shape, bytes: new Uint8Array(data.buffer) };
}

/** The SemanticVlaError that a promise rejects with; anything else is thrown. */
export async function errorOf(promise: Promise<unknown>): Promise<SemanticVlaError> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (error instanceof SemanticVlaError) return error;
  throw new Error(`expected a SemanticVlaError, found ${error === null ? 'success' : String(error)}`, {
    cause: error,
  });
}

/** Adds a shard with float32 zeros under these names and shapes, and lists it in the index. */
export function addShard(dir: string, shapes: Readonly<Record<string, readonly number[]>>): void {
  const name = 'model-99999-of-99999.safetensors';
  const header: Json = {};
  const map: Json = {};
  let at = 0;
  for (const [tensor, shape] of Object.entries(shapes)) {
    const end = at + filled(shape).bytes.length;
    header[tensor] = entry('F32', shape, at, end);
    map[tensor] = name;
    at = end;
  }
  writeFileSync(join(dir, name), safetensors(header, Buffer.alloc(at)));
  editJson(dir, 'model.safetensors.index.json', (index) => void Object.assign(index.weight_map as Json, map));
}
