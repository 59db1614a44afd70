/**
 * Normalization statistics by dataset key: `dataset_statistics.json`, which supersedes `norm_stats` of config.json.
 *
 * A field is read, and refused with STATISTICS_INVALID, only when it is used: statistics of other data sets, bounds of
 * the other normalization, counts and deviations may hold anything. Constant dimensions (min = max,
 * q01 = q99) are legitimate; docs/normalization.md says what they do.
 */

import { SemanticVlaError } from '../support/errors.ts';
import type { Bounds, DatasetStatistics } from './checkpoint.ts';
import type { JsonFields } from './jsonFields.ts';
import { isJsonArray, isJsonObject, type JsonValue } from './strictJson.ts';

/** More than any robot's action or state. */
const maxDimensions = 256;

/** `fields`: the object whose keys are datasets. */
export function readStatistics(fields: JsonFields): Map<string, DatasetStatistics> {
  const keys = Object.keys(fields.value);
  if (keys.length === 0) {
    throw new SemanticVlaError(
      'STATISTICS_INVALID',
      `${fields.file}: expected at least one dataset with statistics${fields.path === '' ? '' : ` under ${fields.path}`}, found none. Copy dataset_statistics.json from the training run.`,
    );
  }
  if (lengthOf(fields.value.action) !== null) {
    throw new SemanticVlaError(
      'STATISTICS_INVALID',
      `${fields.file}: expected data sets by name, found the statistics of one without its name (${keys.join(', ')}), as a data loader keeps them. Copy dataset_statistics.json from the training run, or write {"<name of the data set>": ...} around it.`,
    );
  }
  return new Map(keys.map((key) => [key, new DatasetFields(fields, key)]));
}

class DatasetFields implements DatasetStatistics {
  readonly actionDim: number | null;
  readonly proprioDim: number | null;
  readonly #parent: JsonFields;
  readonly #key: string;
  #action: Bounds | undefined;
  #proprio: Bounds | null | undefined;

  constructor(parent: JsonFields, key: string) {
    this.#parent = parent;
    this.#key = key;
    const dataset = parent.value[key];
    this.actionDim = lengthOf(isJsonObject(dataset) ? dataset.action : undefined);
    this.proprioDim = lengthOf(isJsonObject(dataset) ? dataset.proprio : undefined);
  }

  get action(): Bounds {
    if (this.#action === undefined) {
      const dataset = this.#parent.object(this.#key);
      if (!dataset.has('action')) throw dataset.error('action', 'statistics of the actions');
      this.#action = new FieldBounds(dataset.object('action'));
    }
    return this.#action;
  }

  get proprio(): Bounds | null {
    if (this.#proprio === undefined) {
      const dataset = this.#parent.object(this.#key);
      this.#proprio = dataset.has('proprio') ? new FieldBounds(dataset.object('proprio')) : null;
    }
    return this.#proprio;
  }
}

const lists = ['q01', 'min', 'q99', 'max', 'mask', 'mean', 'std'];

/** The lists as stored, used or not. */
function lengthOf(bounds: JsonValue | undefined): number | null {
  if (!isJsonObject(bounds)) return null;
  const list = lists.map((name) => bounds[name]).find(isJsonArray);
  return list?.length ?? null;
}

class FieldBounds implements Bounds {
  readonly #fields: JsonFields;
  readonly #read = new Map<string, readonly number[]>();
  #mask: readonly boolean[] | undefined;

  constructor(fields: JsonFields) {
    this.#fields = fields;
  }

  get where(): string {
    return `${this.#fields.file}: ${this.#fields.path}`;
  }

  get q01(): readonly number[] {
    return this.#numbers('q01');
  }

  get q99(): readonly number[] {
    return this.#numbers('q99');
  }

  get min(): readonly number[] {
    return this.#numbers('min');
  }

  get max(): readonly number[] {
    return this.#numbers('max');
  }

  get mask(): readonly boolean[] {
    this.#mask ??= this.#readMask();
    return this.#mask;
  }

  #length(): number {
    return lengthOf(this.#fields.value) ?? 0;
  }

  #numbers(name: string): readonly number[] {
    const before = this.#read.get(name);
    if (before !== undefined) return before;
    const fields = this.#fields;
    const values = fields.array(name);
    if (values.length === 0 || values.length > maxDimensions)
      throw fields.error(name, `1 to ${maxDimensions} numbers`);
    if (values.length !== this.#length()) throw fields.error(name, `a list of ${this.#length()} numbers`);
    const { mask } = this;
    const numbers = values.map((value, i) => {
      // a dimension that is passed through needs no bounds
      if (typeof value === 'number' && (Number.isFinite(value) || mask[i] === false)) return value;
      throw new SemanticVlaError(
        'STATISTICS_INVALID',
        `${fields.file}: ${fields.name(name)}, dimension ${i}: expected a finite number, found ${typeof value === 'number' ? value : JSON.stringify(value)}. Copy the statistics of the training run.`,
      );
    });
    this.#read.set(name, numbers);
    return numbers;
  }

  #readMask(): boolean[] {
    const fields = this.#fields;
    const length = this.#length();
    // null would switch every dimension's normalization off in the reference; absent is all true there
    if (!Object.hasOwn(fields.value, 'mask')) return new Array<boolean>(length).fill(true);
    const values = fields.array('mask');
    const mask = values.filter((value): value is boolean => typeof value === 'boolean');
    if (mask.length !== length || values.length !== length)
      throw fields.error('mask', `${length} times true or false`);
    return mask;
  }
}

/** The two lists that bound a quantity, by kind of normalization. */
export function boundNames(
  normalization: 'q99' | 'minmax',
): readonly ['q01', 'q99'] | readonly ['min', 'max'] {
  return normalization === 'q99' ? ['q01', 'q99'] : ['min', 'max'];
}

/**
 * Checks what a normalization of this kind reads: bounds in order, and a finite range. Where the mask is false nothing is read.
 * @returns how many dimensions they are
 * @throws STATISTICS_INVALID with file, data set, dimension and both values
 */
export function checkBounds(bounds: Bounds, normalization: 'q99' | 'minmax'): number {
  const [lowName, highName] = boundNames(normalization);
  const { [lowName]: low, [highName]: high, mask, where = 'Statistics' } = bounds;
  low.forEach((value, i) => {
    const other = high[i]!;
    if (mask[i] === false) return;
    if (value > other) {
      throw new SemanticVlaError(
        'STATISTICS_INVALID',
        `${where}, dimension ${i}: expected ${lowName} <= ${highName}, found ${value} and ${other}. The file is damaged; copy the statistics of the training run.`,
      );
    }
    if (!Number.isFinite(other - value)) {
      throw new SemanticVlaError(
        'STATISTICS_INVALID',
        `${where}, dimension ${i}: expected a finite range, found ${lowName} ${value} and ${highName} ${other}, whose difference is infinite. The file is damaged; copy the statistics of the training run.`,
      );
    }
  });
  return low.length;
}
