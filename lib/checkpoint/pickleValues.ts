/** What a state dict's pickle can hold, and the few functions whose meaning is known. Nothing here runs anything. */

/** The globals that are recognised, and what they stand for. No others exist here. */
export const knownGlobals: ReadonlyMap<string, PickleGlobal> = new Map(
  [
    'collections OrderedDict',
    'torch._utils _rebuild_tensor_v2',
    'torch._utils _rebuild_parameter',
    ...['Float', 'Double', 'Half', 'BFloat16', 'Long', 'Int', 'Short', 'Char', 'Byte', 'Bool'].map(
      (type) => `torch ${type}Storage`,
    ),
  ].map((name) => [name, { kind: 'global', name }]),
);

export interface PickleGlobal {
  readonly kind: 'global';
  /** `module name`. */
  readonly name: string;
}

/** A storage, named by a persistent id: a range of bytes in an entry `data/<key>`. */
export interface PickleStorage {
  readonly kind: 'storage';
  /** E.g. `BFloat16Storage`. */
  readonly type: string;
  readonly key: string;
  readonly elements: number;
}

export interface PickleTensor {
  readonly kind: 'tensor';
  readonly storage: PickleStorage;
  /** In elements. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
}

export interface PickleDict {
  readonly kind: 'dict';
  readonly entries: Map<string | number, PickleValue>;
}
export interface PickleTuple {
  readonly kind: 'tuple';
  readonly items: readonly PickleValue[];
  readonly depth: number;
}
export interface PickleList {
  readonly kind: 'list';
  readonly items: PickleValue[];
}
export type PickleValue =
  | null
  | boolean
  | number
  | string
  | PickleGlobal
  | PickleStorage
  | PickleTensor
  | PickleDict
  | PickleTuple
  | PickleList;

export function isDict(value: PickleValue | symbol | undefined): value is PickleDict {
  return typeof value === 'object' && value !== null && value.kind === 'dict';
}

function isTensor(value: PickleValue | symbol | undefined): value is PickleTensor {
  return typeof value === 'object' && value !== null && value.kind === 'tensor';
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** A tuple of at most 8 counts, else null. */
function counts(value: PickleValue | undefined): number[] | null {
  if (typeof value !== 'object' || value?.kind !== 'tuple' || value.items.length > 8) return null;
  const items = value.items.filter(isCount);
  return items.length === value.items.length ? items : null;
}

/** How a refusal is worded; the interpreter adds file and position. */
export interface Refusals {
  readonly invalid: (problem: string) => Error;
  readonly forbidden: (what: string) => Error;
}

/** `('storage', <StorageType>, key, location, elements)`: the only persistent id torch writes. */
export function storageOf(id: PickleValue, { invalid, forbidden }: Refusals): PickleStorage {
  if (typeof id !== 'object' || id?.kind !== 'tuple' || id.items.length !== 5 || id.items[0] !== 'storage') {
    throw forbidden('a persistent id that is not a storage');
  }
  const [, type, key, location, elements] = id.items;
  const isStorageType = typeof type === 'object' && type?.kind === 'global' && type.name.endsWith('Storage');
  const isKey = typeof key === 'string' && /^[A-Za-z0-9_]{1,64}$/.test(key);
  if (!isStorageType || !isKey || typeof location !== 'string' || !isCount(elements)) {
    throw invalid('has a storage with a broken type, key or size');
  }
  return { kind: 'storage', type: type.name.slice('torch '.length), key, elements };
}

/** What REDUCE of a known function on `args` describes. */
export function reduced(
  callable: PickleValue,
  args: PickleValue,
  refuse: Refusals,
): PickleDict | PickleTensor {
  const name = typeof callable === 'object' && callable?.kind === 'global' ? callable.name : null;
  if (name === null || typeof args !== 'object' || args?.kind !== 'tuple') {
    throw refuse.forbidden('REDUCE on something that is not a known function');
  }
  switch (name) {
    case 'collections OrderedDict':
      if (args.items.length > 0) throw refuse.forbidden('OrderedDict with arguments');
      return { kind: 'dict', entries: new Map() };
    case 'torch._utils _rebuild_tensor_v2':
      return tensorOf(args.items, refuse);
    case 'torch._utils _rebuild_parameter': {
      const [data, requiresGrad, hooks] = args.items;
      if (args.items.length !== 3 || !isTensor(data) || typeof requiresGrad !== 'boolean' || !isDict(hooks)) {
        throw refuse.invalid('has a broken parameter');
      }
      return data;
    }
    default:
      throw refuse.forbidden(`a call of ${name}`);
  }
}

/** `(storage, offset, shape, stride, requires_grad, hooks[, metadata])`, in elements. */
function tensorOf(args: readonly PickleValue[], { invalid }: Refusals): PickleTensor {
  const [storage, offset, shape, stride, requiresGrad, hooks] = args;
  const dims = counts(shape);
  const steps = counts(stride);
  const isWhole = args.length === 6 || args.length === 7;
  const isSound = isCount(offset) && dims !== null && steps !== null && dims.length === steps.length;
  const isStorage = typeof storage === 'object' && storage?.kind === 'storage';
  if (!isWhole || !isStorage || !isSound || typeof requiresGrad !== 'boolean' || !isDict(hooks)) {
    throw invalid('has a tensor with a broken storage, offset, shape or stride');
  }
  return { kind: 'tensor', storage, offset, shape: dims, stride: steps };
}
