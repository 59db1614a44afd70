/**
 * Reads the pickles that LeRobot's robot client sends: dataclasses of plain values and NumPy arrays. Nothing is called: a
 * "global" is one of a few known words, REDUCE on it builds a description, and every other global or opcode is refused. Bytes
 * and arrays are views of the message, and opcodes are bounded, so that it costs no more than its own length. Refusals have the
 * code REQUEST_INVALID.
 */

import { PickleMachine } from '../../support/pickleMachine.ts';
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

class Reader extends PickleMachine<PickleValue> {
  constructor(bytes: Buffer) {
    super(bytes, { opcodes: maxOpcodes, memo: maxOpcodes, stack: maxOpcodes, textBytes: maxTextBytes });
  }

  protected invalid(problem: string): Error {
    return refused(`one that ${problem}`);
  }

  protected forbidden(what: string): Error {
    return refused(what);
  }

  protected dict(): PickleDict {
    return new Map();
  }

  protected list(): PickleList {
    return [];
  }

  protected tuple(items: PickleList): PickleList {
    return items;
  }

  protected setItems(dict: PickleValue, pairs: PickleList): void {
    if (!(dict instanceof Map)) throw refused('items of something else than a dict');
    for (let i = 0; i < pairs.length; i += 2) {
      const key = pairs[i];
      if (typeof key !== 'string') throw refused('a key that is no text');
      if (dict.has(key)) throw refused(`the key ${JSON.stringify(key.slice(0, 40))} twice`);
      dict.set(key, pairs[i + 1]!);
    }
  }

  protected append(list: PickleValue, items: PickleList): void {
    if (!Array.isArray(list)) throw refused('items of something else than a list');
    for (const item of items) list.push(item);
  }

  protected global(module: string, name: string): Global {
    const key = `${module} ${name}`;
    const means = Object.hasOwn(globals, key) ? globals[key] : undefined;
    if (means === undefined) throw refused(`the global ${JSON.stringify(`${module}.${name}`.slice(0, 80))}`);
    return { name, means };
  }

  protected reduce(callable: PickleValue, args: PickleValue): PickleValue {
    return reduced(callable, args);
  }

  protected build(value: PickleValue, state: PickleValue): void {
    if (value instanceof Instance && state instanceof Map) value.state = state;
    else if (value instanceof Dtype && Array.isArray(state)) buildDtype(value, state);
    else if (value instanceof Unfilled && Array.isArray(state)) buildArray(value, state);
    else throw refused('attributes of something that has none');
  }

  /** Bytes, and objects of the known classes. */
  protected other(opcode: number): PickleValue {
    switch (opcode) {
      case 0x43:
        return this.take(this.take(1)[0]!);
      case 0x42:
        return this.take(this.take(4).readUInt32LE(0));
      case 0x96: // BYTEARRAY8, as protocol 5 has it; take refuses what is longer than the message
        return this.take(Number(this.take(8).readBigUInt64LE(0)));
      case 0x81: {
        const [type, args] = this.popMany(2);
        if (!isGlobal(type, 'class') || !Array.isArray(args) || args.length > 0)
          throw refused('an object of another class');
        return new Instance(type);
      }
      default:
        throw refused(`the opcode 0x${opcode.toString(16).padStart(2, '0')}`);
    }
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
