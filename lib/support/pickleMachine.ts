/**
 * A reader of pickles, protocol 2 to 5, that builds plain data and calls nothing. Opcodes that would run code in Python only
 * ask the subclass, which knows a few words and refuses the others. Work is capped, and no opcode makes more than its own bytes.
 */

export interface PickleLimits {
  readonly opcodes: number;
  readonly memo: number;
  readonly stack: number;
  readonly textBytes: number;
}

type Plain = null | boolean | number | string;
const mark = Symbol('mark');

export abstract class PickleMachine<Value> {
  readonly #bytes: Buffer;
  readonly #limits: PickleLimits;
  readonly #stack: (Value | Plain | typeof mark)[] = [];
  readonly #memo = new Map<number, Value | Plain>();
  #at = 0;
  #opcodes = 0;

  constructor(bytes: Buffer, limits: PickleLimits) {
    this.#bytes = bytes;
    this.#limits = limits;
  }

  /** The error for a pickle that is none: "ends too early". */
  protected abstract invalid(problem: string): Error;
  /** The error for what is not read: "the opcode INST". */
  protected abstract forbidden(what: string): Error;
  protected abstract dict(): Value;
  protected abstract list(): Value;
  protected abstract tuple(items: (Value | Plain)[]): Value;
  protected abstract setItems(dict: Value | Plain, pairs: (Value | Plain)[]): void;
  protected abstract append(list: Value | Plain, items: (Value | Plain)[]): void;
  protected abstract global(module: string, name: string): Value;
  protected abstract reduce(callable: Value | Plain, args: Value | Plain): Value | Plain;
  protected abstract build(target: Value | Plain, state: Value | Plain): void;
  /** Any other opcode: pushes what it makes, or throws. */
  protected abstract other(opcode: number): Value | Plain;

  /** Bytes read so far, for messages. */
  protected get at(): number {
    return this.#at;
  }

  run(): Value | Plain {
    if (this.#bytes[0] !== 0x80) throw this.invalid('does not start with a protocol number (PROTO)');
    for (;;) {
      const { opcodes, stack } = this.#limits;
      if (++this.#opcodes > opcodes) throw this.forbidden(`more than ${opcodes} opcodes`);
      const opcode = this.take(1)[0]!;
      if (opcode === 0x2e) break;
      this.#step(opcode);
      if (this.#stack.length > stack) throw this.forbidden(`a stack of more than ${stack} values`);
    }
    const result = this.pop();
    if (this.#stack.length > 0) throw this.invalid('leaves values on the stack');
    if (this.#at !== this.#bytes.length) throw this.invalid('has bytes after its end (STOP)');
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
      case 0x62: {
        const state = this.pop();
        this.build(this.#top('sets attributes of'), state);
        return;
      }
      case 0x73:
        this.#setItems(this.popMany(2));
        return;
      case 0x75:
        this.#setItems(this.#popToMark());
        return;
      case 0x61:
        this.#append(this.popMany(1));
        return;
      case 0x65:
        this.#append(this.#popToMark());
        return;
      case 0x71:
        this.#remember(this.take(1)[0]!);
        return;
      case 0x72:
        this.#remember(this.take(4).readUInt32LE(0));
        return;
      case 0x94:
        this.#remember(this.#memo.size);
        return;
      default:
        this.#stack.push(this.#made(opcode));
    }
  }

  /** What an opcode pushes. */
  #made(opcode: number): Value | Plain {
    switch (opcode) {
      case 0x4e:
        return null;
      case 0x88:
        return true;
      case 0x89:
        return false;
      case 0x4a:
        return this.take(4).readInt32LE(0);
      case 0x4b:
        return this.take(1)[0]!;
      case 0x4d:
        return this.take(2).readUInt16LE(0);
      case 0x8a:
        return this.#long(this.take(1)[0]!);
      case 0x47:
        return this.take(8).readDoubleBE(0);
      case 0x8c:
        return this.#text(this.take(1)[0]!);
      case 0x58:
        return this.#text(this.take(4).readUInt32LE(0));
      case 0x7d:
        return this.dict();
      case 0x5d:
        return this.list();
      case 0x29:
        return this.tuple([]);
      case 0x74:
        return this.tuple(this.#popToMark());
      case 0x85:
      case 0x86:
      case 0x87:
        return this.tuple(this.popMany(opcode - 0x84));
      case 0x68:
        return this.#recall(this.take(1)[0]!);
      case 0x6a:
        return this.#recall(this.take(4).readUInt32LE(0));
      case 0x63:
        return this.global(this.#line(), this.#line());
      case 0x93: {
        const [module, name] = this.popMany(2);
        if (typeof module !== 'string' || typeof name !== 'string')
          throw this.forbidden('STACK_GLOBAL on values that are not strings');
        return this.global(module, name);
      }
      case 0x52: {
        const [callable, args] = this.popMany(2);
        return this.reduce(callable!, args!);
      }
      default:
        return this.other(opcode);
    }
  }

  /** The next bytes, as a view. */
  protected take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw this.invalid('ends too early');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  protected pop(): Value | Plain {
    const value = this.#top('takes a value from');
    this.#stack.pop();
    return value;
  }

  protected popMany(count: number): (Value | Plain)[] {
    const out: (Value | Plain)[] = [];
    for (let i = 0; i < count; i++) out.push(this.pop());
    return out.reverse();
  }

  #top(does: string): Value | Plain {
    const value = this.#stack.at(-1);
    if (value === undefined || value === mark) throw this.invalid(`${does} an empty stack`);
    return value;
  }

  #popToMark(): (Value | Plain)[] {
    const start = this.#stack.lastIndexOf(mark);
    if (start < 0) throw this.invalid('has no MARK where one is needed');
    return this.#stack.splice(start).slice(1) as (Value | Plain)[];
  }

  #protocol(): void {
    const version = this.take(1)[0]!;
    if (this.#opcodes !== 1 || version < 2 || version > 5)
      throw this.invalid(`has a misplaced or unknown protocol ${version}`);
  }

  /** Frames only help buffering; their length must still be true. */
  #frame(): void {
    const length = this.take(8).readBigUInt64LE(0);
    if (length > BigInt(this.#bytes.length - this.#at)) throw this.invalid('has a frame longer than itself');
  }

  #long(length: number): number {
    if (length > 8) throw this.forbidden(`an integer of ${length} bytes`);
    const raw = this.take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(raw[i]!);
    const signed = Number(BigInt.asIntN(length * 8, value));
    if (!Number.isSafeInteger(signed)) throw this.invalid(`has the integer ${signed}, out of range`);
    return signed;
  }

  #text(length: number): string {
    if (length > this.#limits.textBytes) throw this.forbidden(`a string of ${length} bytes`);
    return this.#utf8(this.take(length));
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0 || end - this.#at > this.#limits.textBytes) throw this.invalid('has a GLOBAL without an end');
    const text = this.#utf8(this.take(end - this.#at));
    this.#at++;
    return text;
  }

  #utf8(raw: Buffer): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw);
    } catch {
      throw this.invalid('has a string that is not UTF-8');
    }
  }

  #setItems(pairs: (Value | Plain)[]): void {
    const dict = this.#top('sets items of');
    if (pairs.length % 2 !== 0) throw this.invalid('sets items of something that is not a dict');
    this.setItems(dict, pairs);
  }

  #append(items: (Value | Plain)[]): void {
    this.append(this.#top('appends to'), items);
  }

  #remember(key: number): void {
    const value = this.#top('remembers a value from');
    const { memo } = this.#limits;
    if (this.#memo.size >= memo) throw this.forbidden(`more than ${memo} remembered values`);
    this.#memo.set(key, value);
  }

  #recall(key: number): Value | Plain {
    const value = this.#memo.get(key);
    if (value === undefined) throw this.invalid(`recalls the value ${key}, which was never remembered`);
    return value;
  }
}
