/**
 * Reads the pickles that LeRobot's robot client sends: dataclasses of plain values and NumPy arrays. Nothing is called: a
 * "global" is one of a few known words, REDUCE on it builds a description, and every other global or opcode is refused. Bytes
 * and arrays are views of the message, and opcodes are bounded, so that it costs no more than its own length. Refusals have the
 * code REQUEST_INVALID.
 */

import { checkDtype, checkShape, invalidRequest, NdArray } from '../ndarray.ts';

/** An observation of 100 motors and 8 cameras takes about 1,500. */
const maxOpcodes = 20_000;
const maxTextBytes = 64 * 1024;

const helpers = 'lerobot.async_inference.helpers';
/** What is known, by `module name`. NumPy 2 renamed its modules. */
const globals: Readonly<Record<string, Global['means']>> = {
  [`${helpers} TimedObservation`]: 'class',
  [`${helpers} RemotePolicyConfig`]: 'class',
  'numpy ndarray': 'ndarray',
  'numpy dtype': 'dtype',
  'numpy._core.multiarray _reconstruct': 'reconstruct',
  'numpy.core.multiarray _reconstruct': 'reconstruct',
  'numpy._core.multiarray scalar': 'scalar',
  'numpy.core.multiarray scalar': 'scalar',
  'numpy._core.numeric _frombuffer': 'frombuffer',
  'numpy.core.numeric _frombuffer': 'frombuffer',
};

export type PickleValue =
  | null
  | boolean
  | number
  | string
  | Buffer
  | NdArray
  | PickleList
  | PickleDict
  | Global
  | Dtype
  | Unfilled
  | Instance;
/** Tuples too. */
export type PickleList = PickleValue[];
export type PickleDict = Map<string, PickleValue>;

interface Global {
  readonly name: string;
  readonly means: 'class' | 'ndarray' | 'dtype' | 'reconstruct' | 'scalar' | 'frombuffer';
}

class Dtype {
  readonly code: string;
  /** NumPy's sign of the byte order; null until BUILD says it. */
  order: string | null = null;

  constructor(code: string) {
    this.code = code;
  }

  /** @throws REQUEST_INVALID for others than plain numbers in little-endian order */
  get dtype(): string {
    return checkDtype(`${this.order ?? '|'}${this.code}`);
  }
}

/** An array before BUILD says what is in it. */
class Unfilled {
  array: NdArray | null = null;
}

/** An object of a known class with its attributes. */
export class Instance {
  /** Without the module. */
  readonly className: string;
  state: PickleDict = new Map();

  constructor({ name }: Global) {
    this.className = name;
  }
}

const mark = Symbol('mark');
type Item = PickleValue | typeof mark;

/** An object of the class, with its attributes. @throws REQUEST_INVALID */
export function readPickle(bytes: Buffer, className: string): PickleDict {
  const value = new Reader(bytes).run();
  if (value instanceof Instance && value.className === className) return value.state;
  throw invalidRequest(`a pickled ${className} of lerobot`, 'another value');
}

/** The value of an attribute or field: arrays as such. */
export function settled(value: PickleValue | undefined): PickleValue | undefined {
  return value instanceof Unfilled ? (value.array ?? undefined) : value;
}

function refused(found: string): Error {
  return invalidRequest('a pickle of plain values and NumPy arrays', found);
}

const truncated = (): Error => refused('one that is cut off');

class Reader {
  readonly #bytes: Buffer;
  readonly #stack: Item[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  run(): PickleValue {
    if (this.#bytes[0] !== 0x80) throw refused('bytes that are no pickle of protocol 2 or later');
    for (let opcodes = 0; ; opcodes++) {
      if (opcodes > maxOpcodes) throw refused(`more than ${maxOpcodes} opcodes`);
      const opcode = this.#take(1)[0]!;
      if (opcode === 0x2e) break;
      this.#step(opcode);
    }
    const value = this.#pop();
    if (this.#stack.length > 0 || this.#at !== this.#bytes.length) throw refused('more than one value');
    return value;
  }

  #step(opcode: number): void {
    switch (opcode) {
      case 0x80: {
        const protocol = this.#take(1)[0]!;
        if (this.#at !== 2 || protocol < 2 || protocol > 5) throw refused(`protocol ${protocol}`);
        return;
      }
      case 0x95: // FRAME, which only helps buffering
        this.#take(8);
        return;
      case 0x28:
        this.#stack.push(mark);
        return;
      case 0x4e:
        this.#push(null);
        return;
      case 0x88:
      case 0x89:
        this.#push(opcode === 0x88);
        return;
      case 0x4a:
        this.#push(this.#take(4).readInt32LE(0));
        return;
      case 0x4b:
        this.#push(this.#take(1)[0]!);
        return;
      case 0x4d:
        this.#push(this.#take(2).readUInt16LE(0));
        return;
      case 0x8a:
        this.#push(this.#long());
        return;
      case 0x47:
        this.#push(this.#take(8).readDoubleBE(0));
        return;
      case 0x8c:
        this.#push(this.#text(this.#take(1)[0]!));
        return;
      case 0x58:
        this.#push(this.#text(this.#take(4).readUInt32LE(0)));
        return;
      case 0x43:
        this.#push(this.#take(this.#take(1)[0]!));
        return;
      case 0x42:
        this.#push(this.#take(this.#take(4).readUInt32LE(0)));
        return;
      case 0x96: // BYTEARRAY8, as protocol 5 has it
        this.#push(this.#take(this.#length8()));
        return;
      case 0x7d:
        this.#push(new Map());
        return;
      case 0x5d:
      case 0x29:
        this.#push([]);
        return;
      case 0x74:
        this.#push(this.#popToMark());
        return;
      case 0x85:
      case 0x86:
      case 0x87:
        this.#push(this.#popMany(opcode - 0x84));
        return;
      case 0x73:
        this.#setItems(this.#popMany(2));
        return;
      case 0x75:
        this.#setItems(this.#popToMark());
        return;
      case 0x61:
        this.#append(this.#popMany(1));
        return;
      case 0x65:
        this.#append(this.#popToMark());
        return;
      case 0x71:
        this.#memo.set(this.#take(1)[0]!, this.#top());
        return;
      case 0x72:
        this.#memo.set(this.#take(4).readUInt32LE(0), this.#top());
        return;
      case 0x94:
        this.#memo.set(this.#memo.size, this.#top());
        return;
      case 0x68:
        this.#recall(this.#take(1)[0]!);
        return;
      case 0x6a:
        this.#recall(this.#take(4).readUInt32LE(0));
        return;
      case 0x63:
        this.#global(this.#line(), this.#line());
        return;
      case 0x93: {
        const [module, name] = this.#popMany(2);
        if (typeof module !== 'string' || typeof name !== 'string') throw refused('a global without a name');
        this.#global(module, name);
        return;
      }
      case 0x81: {
        const [type, args] = this.#popMany(2);
        if (!isGlobal(type, 'class') || !Array.isArray(args) || args.length > 0)
          throw refused('an object of another class');
        this.#push(new Instance(type));
        return;
      }
      case 0x52: {
        const [callable, args] = this.#popMany(2);
        this.#push(reduced(callable!, args!));
        return;
      }
      case 0x62:
        this.#build(this.#pop());
        return;
      default:
        throw refused(`the opcode 0x${opcode.toString(16).padStart(2, '0')}`);
    }
  }

  #take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw truncated();
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #push(value: PickleValue): void {
    this.#stack.push(value);
  }

  #top(): PickleValue {
    const value = this.#stack.at(-1);
    if (value === undefined || value === mark) throw truncated();
    return value;
  }

  #pop(): PickleValue {
    const value = this.#top();
    this.#stack.pop();
    return value;
  }

  #popMany(count: number): PickleValue[] {
    return Array.from({ length: count }, () => this.#pop()).reverse();
  }

  #popToMark(): PickleValue[] {
    const start = this.#stack.lastIndexOf(mark);
    if (start < 0) throw truncated();
    return this.#stack.splice(start).slice(1) as PickleValue[];
  }

  #length8(): number {
    const length = this.#take(8).readBigUInt64LE(0);
    if (length > BigInt(this.#bytes.length)) throw truncated();
    return Number(length);
  }

  #long(): number {
    const length = this.#take(1)[0]!;
    if (length > 8) throw refused(`an integer of ${length} bytes`);
    const raw = this.#take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(raw[i]!);
    return Number(BigInt.asIntN(length * 8, value));
  }

  #text(length: number): string {
    if (length > maxTextBytes) throw refused(`a text of ${length} bytes`);
    return utf8(this.#take(length));
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0 || end - this.#at > 256) throw truncated();
    const text = utf8(this.#take(end - this.#at));
    this.#at++;
    return text;
  }

  #setItems(pairs: PickleValue[]): void {
    const dict = this.#top();
    if (!(dict instanceof Map) || pairs.length % 2 !== 0)
      throw refused('items of something else than a dict');
    for (let i = 0; i < pairs.length; i += 2) {
      const key = pairs[i];
      if (typeof key !== 'string') throw refused('a key that is no text');
      if (dict.has(key)) throw refused(`the key ${JSON.stringify(key.slice(0, 40))} twice`);
      dict.set(key, pairs[i + 1]!);
    }
  }

  #append(items: PickleValue[]): void {
    const list = this.#top();
    if (!Array.isArray(list)) throw refused('items of something else than a list');
    for (const item of items) list.push(item);
  }

  #recall(key: number): void {
    const value = this.#memo.get(key);
    if (value === undefined) throw refused('a reference to nothing');
    this.#push(value);
  }

  #global(module: string, name: string): void {
    const key = `${module} ${name}`;
    const means = Object.hasOwn(globals, key) ? globals[key] : undefined;
    if (means === undefined) throw refused(`the global ${JSON.stringify(`${module}.${name}`.slice(0, 80))}`);
    this.#push({ name, means });
  }

  #build(state: PickleValue): void {
    const value = this.#top();
    if (value instanceof Instance && state instanceof Map) value.state = state;
    else if (value instanceof Dtype && Array.isArray(state)) buildDtype(value, state);
    else if (value instanceof Unfilled && Array.isArray(state)) buildArray(value, state);
    else throw refused('attributes of something that has none');
  }
}

function utf8(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw refused('a text that is not UTF-8');
  }
}

function isGlobal(value: PickleValue | undefined, means: Global['means']): value is Global {
  return typeof value === 'object' && value !== null && 'means' in value && value.means === means;
}

function reduced(callable: PickleValue, args: PickleValue): PickleValue {
  if (!Array.isArray(args)) throw refused('a call without arguments');
  const [first, second, third, fourth] = args;
  if (isGlobal(callable, 'dtype')) {
    if (typeof first !== 'string') throw refused('a dtype without a name');
    return new Dtype(first);
  }
  if (isGlobal(callable, 'reconstruct')) {
    if (!isGlobal(first, 'ndarray')) throw refused('an array of another class');
    return new Unfilled();
  }
  if (isGlobal(callable, 'scalar')) {
    if (!(first instanceof Dtype) || !Buffer.isBuffer(second)) throw refused('a scalar without a value');
    return new NdArray(first.dtype, [], second).numbers()[0]!;
  }
  if (isGlobal(callable, 'frombuffer')) {
    if (!Buffer.isBuffer(first) || !(second instanceof Dtype)) throw refused('an array without bytes');
    if (fourth !== 'C') throw refused('an array in another than C order');
    return new NdArray(second.dtype, checkShape(third), first);
  }
  throw refused('a call of something else');
}

/** (3, order, None, None, None, -1, -1, 0): a plain number; with anything else it has fields. */
function buildDtype(dtype: Dtype, [, order, subtype, names, fields]: PickleList): void {
  const isPlain = subtype === null && names === null && fields === null;
  if (typeof order !== 'string' || !isPlain) throw refused('a structured dtype');
  dtype.order = order;
}

/** (1, shape, dtype, whether in Fortran's order, bytes). */
function buildArray(unfilled: Unfilled, [, shape, dtype, isFortran, data]: PickleList): void {
  if (!(dtype instanceof Dtype) || !Buffer.isBuffer(data)) throw refused('an array without bytes');
  if (isFortran !== false) throw refused("an array in Fortran's order: np.ascontiguousarray(frame) first");
  unfilled.array = new NdArray(dtype.dtype, checkShape(shape), data);
}
