/**
 * `data.pkl` of a torch archive: the pickle (protocol 2) of the result of `Module.state_dict()`, an OrderedDict of tensors
 * whose attribute `_metadata` holds a version for each module. Identical, opcode for opcode and memo numbers included, to what
 * Python's pickler and torch 2.2 write, except that equal strings are not looked up by identity.
 */

/** A tensor and the number of its storage, `data/<storage>` in the archive. */
export interface PickledTensor {
  readonly name: string;
  readonly dtype: 'BF16' | 'F32';
  readonly shape: readonly number[];
  readonly storage: number;
}

/** Python's pickler sets at most this many items of a dict at once. */
const batch = 1000;
const storageClass = { BF16: 'BFloat16Storage', F32: 'FloatStorage' } as const;

class Pickler {
  readonly #bytes: number[] = [];
  readonly #memo = new Map<string, number>();
  #next = 0;

  op(...codes: readonly (number | string)[]): void {
    for (const code of codes) this.#bytes.push(typeof code === 'string' ? code.charCodeAt(0) : code);
  }

  put(): number {
    const index = this.#next++;
    if (index < 256) this.op('q', index);
    else this.op('r', ...uint32(index));
    return index;
  }

  get(index: number): void {
    if (index < 256) this.op('h', index);
    else this.op('j', ...uint32(index));
  }

  text(value: string): void {
    const utf8 = Buffer.from(value);
    this.op('X', ...uint32(utf8.length), ...utf8);
    this.put();
  }

  /** Text or class that occurs again as the same object. */
  shared(name: string, write: () => void): void {
    const index = this.#memo.get(name);
    if (index !== undefined) {
      this.get(index);
      return;
    }
    write();
    this.#memo.set(name, this.#next - 1);
  }

  sharedText(value: string): void {
    this.shared(`text ${value}`, () => this.text(value));
  }

  global(module: string, name: string): void {
    this.shared(`class ${module}.${name}`, () => {
      this.op('c', ...Buffer.from(`${module}\n${name}\n`));
      this.put();
    });
  }

  int(value: number): void {
    if (value < 256) this.op('K', value);
    else if (value < 65536) this.op('M', value & 255, value >> 8);
    else if (value < 2 ** 31) this.op('J', ...uint32(value));
    else throw new RangeError(`an integer of a tensor's pickle is below 2^31, found ${value}`);
  }

  tuple(values: readonly number[]): void {
    if (values.length > 3) this.op('(');
    for (const value of values) this.int(value);
    if (values.length === 0) this.op(')');
    else if (values.length > 3) this.op('t');
    else this.op(0x84 + values.length);
    if (values.length > 0) this.put();
  }

  orderedDict(): void {
    this.global('collections', 'OrderedDict');
    this.op(')', 'R');
    this.put();
  }

  items<T>(items: readonly T[], write: (item: T) => void): void {
    for (let start = 0; start < items.length; start += batch) {
      const slice = items.slice(start, start + batch);
      if (slice.length > 1) this.op('(');
      for (const item of slice) write(item);
      this.op(slice.length > 1 ? 'u' : 's');
    }
  }

  finish(): Uint8Array {
    this.op('.');
    return Uint8Array.from(this.#bytes);
  }
}

function uint32(value: number): number[] {
  return [value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24];
}

/** Row-major strides in elements. */
function strides(shape: readonly number[]): number[] {
  const out: number[] = [];
  let step = 1;
  for (const n of shape.toReversed()) {
    out.unshift(step);
    step *= n;
  }
  return out;
}

/** Every module that holds a tensor, parents first, as `state_dict()` lists them. */
function moduleNames(tensors: readonly PickledTensor[]): string[] {
  const names = new Set(['']);
  for (const { name } of tensors) {
    const parts = name.split('.').slice(0, -1);
    for (let i = 1; i <= parts.length; i += 1) names.add(parts.slice(0, i).join('.'));
  }
  return [...names];
}

export function pickleStateDict(tensors: readonly PickledTensor[]): Uint8Array {
  const p = new Pickler();
  p.op(0x80, 2);
  p.orderedDict();
  p.items(tensors, ({ name, dtype, shape, storage }) => {
    p.text(name);
    p.global('torch._utils', '_rebuild_tensor_v2');
    p.op('(', '(');
    p.sharedText('storage');
    p.global('torch', storageClass[dtype]);
    p.text(String(storage));
    p.sharedText('cpu');
    p.int(shape.reduce((product, n) => product * n, 1));
    p.op('t');
    p.put();
    p.op('Q');
    p.int(0); // offset in the storage
    p.tuple(shape);
    p.tuple(strides(shape));
    p.op(0x89); // requires_grad: False
    p.orderedDict(); // backward hooks
    p.op('t');
    p.put();
    p.op('R');
    p.put();
  });
  p.op('}');
  p.put();
  p.text('_metadata');
  p.orderedDict();
  p.items(moduleNames(tensors), (name) => {
    p.text(name);
    p.op('}');
    p.put();
    p.sharedText('version');
    p.int(1);
    p.op('s');
  });
  p.op('s', 'b');
  return p.finish();
}
