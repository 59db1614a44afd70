/**
 * An interpreter for the pickles that torch.save writes for a state dict. It builds plain data and cannot call anything: a
 * "global" is one of a few known words, REDUCE on it builds a description, and every other opcode or global ends the
 * reading with TORCH_ARCHIVE_FORBIDDEN. Work and memory are capped, so a small file cannot become a large one.
 */

import { SemanticVlaError } from '../support/errors.ts';
import { PickleMachine } from '../support/pickleMachine.ts';
import {
  isDict,
  knownGlobals,
  type PickleGlobal,
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

/** Names of opcodes that are refused, for the message; the rest of the table is in PickleMachine. */
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

class Interpreter extends PickleMachine<PickleValue> {
  readonly #where: string;
  readonly #refusals: Refusals = {
    invalid: (problem) => this.invalid(problem),
    forbidden: (what) => this.forbidden(what),
  };
  #objects = 0;

  constructor(bytes: Buffer, where: string) {
    super(bytes, { opcodes: maxOpcodes, memo: maxMemo, stack: maxStack, textBytes: maxStringBytes });
    this.#where = where;
  }

  protected dict(): PickleValue {
    return this.#counted({ kind: 'dict', entries: new Map() });
  }

  protected list(): PickleValue {
    return this.#counted({ kind: 'list', items: [] });
  }

  protected tuple(items: PickleValue[]): PickleValue {
    let depth = 1;
    for (const item of items) {
      if (typeof item === 'object' && item?.kind === 'tuple') depth = Math.max(depth, item.depth + 1);
    }
    if (depth > maxDepth) throw this.forbidden(`tuples nested deeper than ${maxDepth}`);
    return this.#counted({ kind: 'tuple', items, depth });
  }

  protected setItems(dict: PickleValue, pairs: PickleValue[]): void {
    if (!isDict(dict)) throw this.invalid('sets items of something that is not a dict');
    for (let i = 0; i < pairs.length; i += 2) {
      const key = pairs[i]!;
      if (typeof key !== 'string' && typeof key !== 'number')
        throw this.invalid('has a dict key that is not a string');
      if (dict.entries.has(key)) throw this.invalid(`has the dict key ${JSON.stringify(key)} twice`);
      dict.entries.set(key, pairs[i + 1]!);
    }
  }

  protected append(list: PickleValue, items: PickleValue[]): void {
    if (typeof list !== 'object' || list === null || list.kind !== 'list')
      throw this.invalid('appends to something that is not a list');
    for (const item of items) list.items.push(item);
  }

  protected global(module: string, name: string): PickleGlobal {
    const known = knownGlobals.get(`${module} ${name}`);
    if (known === undefined)
      throw this.forbidden(`the global ${JSON.stringify(`${module}.${name}`.slice(0, 200))}`);
    return known;
  }

  protected reduce(callable: PickleValue, args: PickleValue): PickleValue {
    return this.#counted(reduced(callable, args, this.#refusals));
  }

  /** A state dict carries `_metadata` as an attribute: a dict set on a dict. It is not used. Anything else is refused. */
  protected build(target: PickleValue, state: PickleValue): void {
    if (!isDict(state) || !isDict(target))
      throw this.forbidden('BUILD on something that is not a state dict');
    for (const key of state.entries.keys()) {
      if (key !== '_metadata') throw this.forbidden(`BUILD of the attribute ${JSON.stringify(key)}`);
    }
  }

  /** BINPERSID alone: a storage. */
  protected other(opcode: number): PickleValue {
    if (opcode === 0x51) return this.#counted(storageOf(this.pop(), this.#refusals));
    const name = forbiddenOpcodes[opcode] ?? `0x${opcode.toString(16).padStart(2, '0')}`;
    throw this.forbidden(`the opcode ${name}`);
  }

  /** Something that was just built. */
  #counted(value: PickleValue): PickleValue {
    if (++this.#objects > maxObjects) throw this.forbidden(`more than ${maxObjects} objects`);
    return value;
  }

  protected invalid(problem: string): SemanticVlaError {
    return new SemanticVlaError(
      'TORCH_ARCHIVE_INVALID',
      `${this.#where}: the pickle ${problem} (byte ${this.at}). Copy or save the file again.`,
    );
  }

  protected forbidden(what: string): SemanticVlaError {
    return new SemanticVlaError(
      'TORCH_ARCHIVE_FORBIDDEN',
      `${this.#where}: expected only tensors in a dict, found ${what} (byte ${this.at}). The file would run code or is not a plain state dict; do not load it elsewhere, and save it again with torch.save(model.state_dict(), ...).`,
    );
  }
}
