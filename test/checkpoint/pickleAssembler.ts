/** Writes pickles opcode by opcode, well-formed or not. Only for tests; the reader under test shares no code with it. */

/** Opcode bytes by their names in pickletools. */
export const op = {
  MARK: 0x28,
  STOP: 0x2e,
  POP: 0x30,
  POP_MARK: 0x31,
  DUP: 0x32,
  FLOAT: 0x46,
  BININT: 0x4a,
  BININT1: 0x4b,
  BININT2: 0x4d,
  NONE: 0x4e,
  PERSID: 0x50,
  BINPERSID: 0x51,
  REDUCE: 0x52,
  STRING: 0x53,
  UNICODE: 0x56,
  BINUNICODE: 0x58,
  APPEND: 0x61,
  BUILD: 0x62,
  GLOBAL: 0x63,
  DICT: 0x64,
  APPENDS: 0x65,
  GET: 0x67,
  BINGET: 0x68,
  INST: 0x69,
  LONG_BINGET: 0x6a,
  LIST: 0x6c,
  EMPTY_LIST: 0x5d,
  EMPTY_DICT: 0x7d,
  OBJ: 0x6f,
  PUT: 0x70,
  BINPUT: 0x71,
  LONG_BINPUT: 0x72,
  SETITEM: 0x73,
  TUPLE: 0x74,
  EMPTY_TUPLE: 0x29,
  SETITEMS: 0x75,
  PROTO: 0x80,
  NEWOBJ: 0x81,
  EXT1: 0x82,
  EXT2: 0x83,
  EXT4: 0x84,
  TUPLE1: 0x85,
  TUPLE2: 0x86,
  TUPLE3: 0x87,
  NEWTRUE: 0x88,
  NEWFALSE: 0x89,
  LONG1: 0x8a,
  LONG4: 0x8b,
  SHORT_BINUNICODE: 0x8c,
  BINUNICODE8: 0x8d,
  BINBYTES8: 0x8e,
  EMPTY_SET: 0x8f,
  FROZENSET: 0x91,
  NEWOBJ_EX: 0x92,
  STACK_GLOBAL: 0x93,
  MEMOIZE: 0x94,
  FRAME: 0x95,
  BYTEARRAY8: 0x96,
  NEXT_BUFFER: 0x97,
} as const;

export type Part = number | Buffer | string | readonly Part[];

/** Numbers are bytes, strings Latin-1 text, lists are joined. */
export function bytes(...parts: readonly Part[]): Buffer {
  const flat = (part: Part): Buffer[] => {
    if (typeof part === 'number') return [Buffer.from([part])];
    if (typeof part === 'string') return [Buffer.from(part, 'latin1')];
    return Buffer.isBuffer(part) ? [part] : part.flatMap(flat);
  };
  return Buffer.concat(parts.flatMap(flat));
}

export function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value >>> 0);
  return out;
}

export function u64(value: number | bigint): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out;
}

/** A whole pickle of the given protocol. */
export function pickle(body: Part, protocol = 2): Buffer {
  return bytes(op.PROTO, protocol, body, op.STOP);
}

export function text(value: string): Part {
  const raw = Buffer.from(value);
  return [op.BINUNICODE, u32(raw.length), raw];
}

export function shortText(value: string): Part {
  const raw = Buffer.from(value);
  return [op.SHORT_BINUNICODE, raw.length, raw];
}

export function global(module: string, name: string): Part {
  return [op.GLOBAL, `${module}\n${name}\n`];
}

export function int(value: number): Part {
  if (value >= 0 && value < 256) return [op.BININT1, value];
  if (value >= -(2 ** 31) && value < 2 ** 31) return [op.BININT, u32(value)];
  return [op.LONG1, 8, u64(BigInt.asUintN(64, BigInt(value)))];
}

export function tuple(...items: readonly Part[]): Part {
  return [op.MARK, items, op.TUPLE];
}

/** REDUCE: what Python runs as `callable(*args)`. */
export function call(callable: Part, ...args: readonly Part[]): Part {
  return [callable, tuple(...args), op.REDUCE];
}

export const orderedDict: Part = [global('collections', 'OrderedDict'), op.EMPTY_TUPLE, op.REDUCE];

export interface TensorParts {
  readonly type?: string;
  readonly key?: string;
  readonly elements?: number;
  readonly offset?: number;
  readonly shape?: readonly number[];
  readonly stride?: readonly number[];
}

export function storage({ type = 'FloatStorage', key = '0', elements = 4 }: TensorParts = {}): Part {
  return [tuple(text('storage'), global('torch', type), text(key), text('cpu'), int(elements)), op.BINPERSID];
}

/** `_rebuild_tensor_v2(...)`: a float32 [2, 2] over storage 0, changed part by part. */
export function tensor(parts: TensorParts = {}): Part {
  const shape = parts.shape ?? [2, 2];
  const stride = parts.stride ?? contiguous(shape);
  return call(
    global('torch._utils', '_rebuild_tensor_v2'),
    storage(parts),
    int(parts.offset ?? 0),
    tuple(...shape.map(int)),
    tuple(...stride.map(int)),
    op.NEWFALSE,
    orderedDict,
  );
}

export function contiguous(shape: readonly number[]): number[] {
  return shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
}

/** `{name: value, ...}` */
export function dict(entries: Readonly<Record<string, Part>>): Part {
  const items = Object.entries(entries).map(([name, value]): Part => [text(name), value]);
  return [op.EMPTY_DICT, op.MARK, items, op.SETITEMS];
}
