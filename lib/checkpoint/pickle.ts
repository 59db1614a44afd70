/**
 * An interpreter for the pickles that torch.save writes for a state dict. It builds plain data and cannot call anything: a
 * "global" is one of a few known words, REDUCE on it builds a description, and every other opcode or global ends the
 * reading with TORCH_ARCHIVE_FORBIDDEN. Work and memory are capped, so a small file cannot become a large one.
 */

import { SemanticVlaError } from '../support/errors.ts';
import {
  isDict,
  knownGlobals,
  type PickleGlobal,
  type PickleTuple,
  type PickleValue,
  type Refusals,
  reduced,
  storageOf,
} from './pickleValues.ts';

/** A full-size vision archive (1,500 tensors) takes about 60,000 opcodes, 20,000 memo entries and 10,000 objects. */
const maxOpcodes = 1_000_000;
const maxMemo = 200_000;
const maxStack = 200_000;
/** Tuples, lists, dicts and tensors built in all. */
const maxObjects = 64_000;
/** Tuples inside tuples; a state dict needs 4. */
const maxDepth = 32;
const maxStringBytes = 4096;

const mark = Symbol('mark');
type StackItem = PickleValue | typeof mark;

/** Names of opcodes that are refused, for the message; the rest of the table is in `step`. */
const forbiddenOpcodes: Readonly<Record<number, string>> = {
  105: 'INST',
  111: 'OBJ',
  129: 'NEWOBJ',
  146: 'NEWOBJ_EX',
  130: 'EXT1',
  131: 'EXT2',
  132: 'EXT4',
  80: 'PERSID',
  151: 'NEXT_BUFFER',
  152: 'READONLY_BUFFER',
  73: 'INT',
  76: 'LONG',
  70: 'FLOAT',
  83: 'STRING',
  86: 'UNICODE',
  100: 'DICT',
  108: 'LIST',
  103: 'GET',
  112: 'PUT',
  50: 'DUP',
  49: 'POP_MARK',
  48: 'POP',
  84: 'BINSTRING',
  85: 'SHORT_BINSTRING',
  66: 'BINBYTES',
  67: 'SHORT_BINBYTES',
  142: 'BINBYTES8',
  150: 'BYTEARRAY8',
  143: 'EMPTY_SET',
  144: 'ADDITEMS',
  145: 'FROZENSET',
  139: 'LONG4',
  141: 'BINUNICODE8',
};

/** Interprets one pickle, protocol 2 to 5. `where` names file and entry in messages. */
export function readPickle(bytes: Buffer, where: string): PickleValue {
  return new Interpreter(bytes, where).run();
}

class Interpreter {
  readonly #bytes: Buffer;
  readonly #where: string;
  readonly #stack: StackItem[] = [];
  readonly #memo = new Map<number, PickleValue>();
  readonly #refusals: Refusals = {
    invalid: (problem) => this.#invalid(problem),
    forbidden: (what) => this.#forbidden(what),
  };
  #at = 0;
  #opcodes = 0;
  #objects = 0;

  constructor(bytes: Buffer, where: string) {
    this.#bytes = bytes;
    this.#where = where;
  }

  run(): PickleValue {
    if (this.#bytes[0] !== 0x80) throw this.#invalid('does not start with a protocol number (PROTO)');
    for (;;) {
      if (++this.#opcodes > maxOpcodes) throw this.#forbidden(`more than ${maxOpcodes} opcodes`);
      const opcode = this.#take(1)[0]!;
      if (opcode === 0x2e) break;
      this.#step(opcode);
      if (this.#stack.length > maxStack) throw this.#forbidden(`a stack of more than ${maxStack} values`);
    }
    const result = this.#pop();
    if (this.#stack.length > 0) throw this.#invalid('leaves values on the stack');
    if (this.#at !== this.#bytes.length) throw this.#invalid('has bytes after its end (STOP)');
    return result;
  }

  #step(opcode: number): void {
    switch (opcode) {
      case 0x80:
        this.#protocol();
        return;
      case 0x95:
        this.#frame();
        return;
      case 0x28:
        this.#stack.push(mark);
        return;
      // constants
      case 0x4e:
        this.#push(null);
        return;
      case 0x88:
        this.#push(true);
        return;
      case 0x89:
        this.#push(false);
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
        this.#push(this.#long(this.#take(1)[0]!));
        return;
      case 0x47:
        this.#push(this.#take(8).readDoubleBE(0));
        return;
      case 0x8c:
        this.#push(this.#string(this.#take(1)[0]!));
        return;
      case 0x58:
        this.#push(this.#string(this.#take(4).readUInt32LE(0)));
        return;
      // containers
      case 0x7d:
        this.#pushNew({ kind: 'dict', entries: new Map() });
        return;
      case 0x5d:
        this.#pushNew({ kind: 'list', items: [] });
        return;
      case 0x29:
        this.#pushNew(this.#tuple([]));
        return;
      case 0x74:
        this.#pushNew(this.#tuple(this.#popToMark()));
        return;
      case 0x85:
        this.#pushNew(this.#tuple(this.#popMany(1)));
        return;
      case 0x86:
        this.#pushNew(this.#tuple(this.#popMany(2)));
        return;
      case 0x87:
        this.#pushNew(this.#tuple(this.#popMany(3)));
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
      // memo
      case 0x71:
        this.#remember(this.#take(1)[0]!);
        return;
      case 0x72:
        this.#remember(this.#take(4).readUInt32LE(0));
        return;
      case 0x94:
        this.#remember(this.#memo.size);
        return;
      case 0x68:
        this.#recall(this.#take(1)[0]!);
        return;
      case 0x6a:
        this.#recall(this.#take(4).readUInt32LE(0));
        return;
      // opcodes that would run code in Python, and here only recognise
      case 0x63:
        this.#push(this.#global(this.#line(), this.#line()));
        return;
      case 0x93:
        this.#stackGlobal();
        return;
      case 0x51:
        this.#pushNew(storageOf(this.#pop(), this.#refusals));
        return;
      case 0x52:
        this.#reduce();
        return;
      case 0x62:
        this.#build();
        return;
      default:
        throw this.#forbidden(
          `the opcode ${forbiddenOpcodes[opcode] ?? `0x${opcode.toString(16).padStart(2, '0')}`}`,
        );
    }
  }

  #take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw this.#invalid('ends too early');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #push(value: PickleValue): void {
    this.#stack.push(value);
  }

  /** Pushes something that was just built. */
  #pushNew(value: PickleValue): void {
    if (++this.#objects > maxObjects) throw this.#forbidden(`more than ${maxObjects} objects`);
    this.#push(value);
  }

  #pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === mark) throw this.#invalid('takes a value from an empty stack');
    return value;
  }

  #popMany(count: number): PickleValue[] {
    const out: PickleValue[] = [];
    for (let i = 0; i < count; i++) out.push(this.#pop());
    return out.reverse();
  }

  #popToMark(): PickleValue[] {
    const start = this.#stack.lastIndexOf(mark);
    if (start < 0) throw this.#invalid('has no MARK where one is needed');
    const out = this.#stack.splice(start).slice(1);
    return out as PickleValue[];
  }

  #protocol(): void {
    const version = this.#take(1)[0]!;
    if (this.#opcodes !== 1 || version < 2 || version > 5)
      throw this.#invalid(`has a misplaced or unknown protocol ${version}`);
  }

  /** Frames only help buffering; their length must still be true. */
  #frame(): void {
    const length = this.#take(8).readBigUInt64LE(0);
    if (length > BigInt(this.#bytes.length - this.#at)) throw this.#invalid('has a frame longer than itself');
  }

  #long(length: number): number {
    if (length > 8) throw this.#forbidden(`an integer of ${length} bytes`);
    const raw = this.#take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(raw[i]!);
    const signed = Number(BigInt.asIntN(length * 8, value));
    if (!Number.isSafeInteger(signed)) throw this.#invalid(`has the integer ${signed}, out of range`);
    return signed;
  }

  #string(length: number): string {
    if (length > maxStringBytes) throw this.#forbidden(`a string of ${length} bytes`);
    return this.#utf8(this.#take(length));
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0 || end - this.#at > maxStringBytes) throw this.#invalid('has a GLOBAL without an end');
    const text = this.#utf8(this.#take(end - this.#at));
    this.#at++;
    return text;
  }

  #utf8(raw: Buffer): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw);
    } catch {
      throw this.#invalid('has a string that is not UTF-8');
    }
  }

  #tuple(items: PickleValue[]): PickleTuple {
    let depth = 1;
    for (const item of items) {
      if (typeof item === 'object' && item?.kind === 'tuple') depth = Math.max(depth, item.depth + 1);
    }
    if (depth > maxDepth) throw this.#forbidden(`tuples nested deeper than ${maxDepth}`);
    return { kind: 'tuple', items, depth };
  }

  #setItems(pairs: PickleValue[]): void {
    const dict = this.#stack.at(-1);
    if (!isDict(dict) || pairs.length % 2 !== 0)
      throw this.#invalid('sets items of something that is not a dict');
    for (let i = 0; i < pairs.length; i += 2) {
      const key = pairs[i]!;
      if (typeof key !== 'string' && typeof key !== 'number')
        throw this.#invalid('has a dict key that is not a string');
      if (dict.entries.has(key)) throw this.#invalid(`has the dict key ${JSON.stringify(key)} twice`);
      dict.entries.set(key, pairs[i + 1]!);
    }
  }

  #append(items: PickleValue[]): void {
    const list = this.#stack.at(-1);
    if (typeof list !== 'object' || list === null || list.kind !== 'list')
      throw this.#invalid('appends to something that is not a list');
    for (const item of items) list.items.push(item);
  }

  #remember(key: number): void {
    const value = this.#stack.at(-1);
    if (value === undefined || value === mark) throw this.#invalid('remembers a value from an empty stack');
    if (this.#memo.size >= maxMemo) throw this.#forbidden(`more than ${maxMemo} remembered values`);
    this.#memo.set(key, value);
  }

  #recall(key: number): void {
    const value = this.#memo.get(key);
    if (value === undefined) throw this.#invalid(`recalls the value ${key}, which was never remembered`);
    this.#push(value);
  }

  #global(module: string, name: string): PickleGlobal {
    const known = knownGlobals.get(`${module} ${name}`);
    if (known === undefined)
      throw this.#forbidden(`the global ${JSON.stringify(`${module}.${name}`.slice(0, 200))}`);
    return known;
  }

  #stackGlobal(): void {
    const [module, name] = this.#popMany(2);
    if (typeof module !== 'string' || typeof name !== 'string')
      throw this.#forbidden('STACK_GLOBAL on values that are not strings');
    this.#push(this.#global(module, name));
  }

  #reduce(): void {
    const [callable, args] = this.#popMany(2) as [PickleValue, PickleValue];
    this.#pushNew(reduced(callable, args, this.#refusals));
  }

  /** A state dict carries `_metadata` as an attribute: a dict set on a dict. It is not used. Anything else is refused. */
  #build(): void {
    const state = this.#pop();
    if (!isDict(state) || !isDict(this.#stack.at(-1)))
      throw this.#forbidden('BUILD on something that is not a state dict');
    for (const key of state.entries.keys()) {
      if (key !== '_metadata') throw this.#forbidden(`BUILD of the attribute ${JSON.stringify(key)}`);
    }
  }

  #invalid(problem: string): SemanticVlaError {
    return new SemanticVlaError(
      'TORCH_ARCHIVE_INVALID',
      `${this.#where}: the pickle ${problem} (byte ${this.#at}). Copy or save the file again.`,
    );
  }

  #forbidden(what: string): SemanticVlaError {
    return new SemanticVlaError(
      'TORCH_ARCHIVE_FORBIDDEN',
      `${this.#where}: expected only tensors in a dict, found ${what} (byte ${this.#at}). The file would run code or is not a plain state dict; do not load it elsewhere, and save it again with torch.save(model.state_dict(), ...).`,
    );
  }
}
