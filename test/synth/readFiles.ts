/** Readers for the tests of `synth`, written separately from both the writers and lib/checkpoint, so that they can disagree. */

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { crc32 } from 'node:zlib';

export interface FoundTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** Relative paths of all files, sorted. */
export function listFiles(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((path) => statSync(join(dir, path)).isFile())
    .map((path) => relative('.', path))
    .sort();
}

export function readSafetensors(path: string): Map<string, FoundTensor> {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, start)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const out = new Map<string, FoundTensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    out.set(name, { dtype, shape, bytes: file.subarray(start + data_offsets[0], start + data_offsets[1]) });
  }
  return out;
}

export interface FoundEntry {
  readonly name: string;
  readonly offset: number;
  readonly bytes: Buffer;
  readonly crcMatches: boolean;
}

/** Entries of a stored zip by its central directory (found through the zip64 record). */
export function readZip(file: Buffer): FoundEntry[] {
  const end = file.length - 22;
  const zip64 = Number(file.readBigUInt64LE(end - 20 + 8));
  const count = Number(file.readBigUInt64LE(zip64 + 32));
  let at = Number(file.readBigUInt64LE(zip64 + 48));
  const out: FoundEntry[] = [];
  for (let i = 0; i < count; i += 1) {
    const size = file.readUInt32LE(at + 24);
    const nameLength = file.readUInt16LE(at + 28);
    const header = file.readUInt32LE(at + 42);
    const name = file.toString('utf8', at + 46, at + 46 + nameLength);
    const offset = header + 30 + file.readUInt16LE(header + 26) + file.readUInt16LE(header + 28);
    const bytes = file.subarray(offset, offset + size);
    out.push({ name, offset, bytes, crcMatches: crc32(bytes) === file.readUInt32LE(at + 16) });
    at += 46 + nameLength + file.readUInt16LE(at + 30);
  }
  return out;
}

/** Values of the pickle's stack: only what a state dict needs. */
type Value = string | number | boolean | Value[] | Map<Value, Value> | { readonly tensor: [Value[], Value] };

const mark = Symbol('mark');

/** The state dict of a torch archive. Throws on any opcode or class that a state dict does not use. */
export function readTorchArchive(path: string): Map<string, FoundTensor> {
  const entries = readZip(readFileSync(path));
  const root = entries[0]!.name.split('/')[0]!;
  const data = new Map(entries.map((entry) => [entry.name.slice(root.length + 1), entry.bytes]));
  const dict = unpickle(data.get('data.pkl')!);
  const out = new Map<string, FoundTensor>();
  for (const [name, value] of dict) {
    const [storage, shape] = (value as { tensor: [Value[], Value] }).tensor;
    const dtype = storage[1] === 'class torch.BFloat16Storage' ? 'BF16' : 'F32';
    out.set(name as string, { dtype, shape: shape as number[], bytes: data.get(`data/${storage[2]}`)! });
  }
  return out;
}

function unpickle(pickle: Buffer): Map<Value, Value> {
  const stack: (Value | typeof mark)[] = [];
  const memo = new Map<number, Value>();
  let at = 2;
  const pop = () => stack.pop() as Value;
  const popMark = () => stack.splice(stack.lastIndexOf(mark)).slice(1) as Value[];
  const take = (n: number) => {
    at += n;
    return at - n;
  };
  const line = () => {
    const end = pickle.indexOf(10, at);
    const text = pickle.toString('utf8', at, end);
    at = end + 1;
    return text;
  };
  for (;;) {
    const op = String.fromCharCode(pickle[at++]!);
    if (op === '.') return pop() as Map<Value, Value>;
    else if (op === '(') stack.push(mark);
    else if (op === '}') stack.push(new Map());
    else if (op === ')') stack.push([]);
    else if (op === 'q') memo.set(pickle[at++]!, stack.at(-1) as Value);
    else if (op === 'r') memo.set(pickle.readUInt32LE(take(4)), stack.at(-1) as Value);
    else if (op === 'h') stack.push(memo.get(pickle[at++]!)!);
    else if (op === 'j') stack.push(memo.get(pickle.readUInt32LE(take(4)))!);
    else if (op === 'K') stack.push(pickle[at++]!);
    else if (op === 'M') stack.push(pickle.readUInt16LE(take(2)));
    else if (op === 'J') stack.push(pickle.readInt32LE(take(4)));
    else if (op === 'X') {
      const length = pickle.readUInt32LE(at);
      stack.push(pickle.toString('utf8', at + 4, at + 4 + length));
      at += 4 + length;
    } else if (op === 'c') stack.push(`class ${line()}.${line()}`);
    else if (op === 't') stack.push(popMark());
    else if (op === '\x85') stack.push([pop()]);
    else if (op === '\x86') stack.push(stack.splice(-2) as Value[]);
    else if (op === '\x87') stack.push(stack.splice(-3) as Value[]);
    else if (op === '\x89') stack.push(false);
    else if (op === 'Q')
      continue; // the storage tuple stands for the storage
    else if (op === 'R') {
      const args = pop() as Value[];
      const name = pop();
      if (name === 'class collections.OrderedDict') stack.push(new Map());
      else if (name === 'class torch._utils._rebuild_tensor_v2')
        stack.push({ tensor: [args[0] as Value[], args[2]!] });
      else throw new Error(`class ${String(name)}`);
    } else if (op === 's') {
      const [key, value] = stack.splice(-2) as [Value, Value];
      (stack.at(-1) as Map<Value, Value>).set(key, value);
    } else if (op === 'u') {
      const items = popMark();
      for (let i = 0; i < items.length; i += 2)
        (stack.at(-1) as Map<Value, Value>).set(items[i]!, items[i + 1]!);
    } else if (op === 'b') pop();
    else throw new Error(`opcode ${JSON.stringify(op)}`);
  }
}

/** Every tensor of a checkpoint folder: `<file stem>:<name>` for archives, `shard:<name>` for shards. */
export function readCheckpoint(dir: string): Map<string, FoundTensor> {
  const out = new Map<string, FoundTensor>();
  for (const file of readdirSync(dir).sort()) {
    const path = join(dir, file);
    if (file.endsWith('.pt'))
      for (const [name, tensor] of readTorchArchive(path)) out.set(`${file.split('--')[0]}:${name}`, tensor);
    else if (file.endsWith('.safetensors'))
      for (const [name, tensor] of readSafetensors(path)) out.set(`shard:${name}`, tensor);
  }
  return out;
}
