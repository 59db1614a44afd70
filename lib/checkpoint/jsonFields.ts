/** Typed access to the fields of a JSON side file; every refusal names file, key, what was expected and what was found. */

import { type ErrorCode, SemanticVlaError } from '../support/errors.ts';
import { readJsonFile } from './jsonFile.ts';
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from './strictJson.ts';

/** An object of a JSON file, with the path to it for messages. */
export class JsonFields {
  readonly file: string;
  readonly path: string;
  readonly value: JsonObject;
  readonly #code: ErrorCode;

  constructor(file: string, path: string, value: JsonObject, code: ErrorCode) {
    this.file = file;
    this.path = path;
    this.value = value;
    this.#code = code;
  }

  /** The file's top-level object. `missing`: code when there is no such file; `invalid`: of everything else. */
  static async read(file: string, missing: ErrorCode, invalid: ErrorCode): Promise<JsonFields> {
    const value = await readJsonFile(file, { missing, invalid, dialect: 'python' });
    if (!isJsonObject(value)) throw new SemanticVlaError(invalid, `${file}: expected a JSON object.`);
    return new JsonFields(file, '', value, invalid);
  }

  has(key: string): boolean {
    return Object.hasOwn(this.value, key) && this.value[key] !== null;
  }

  /** null and absent are the same: undefined. */
  get(key: string): JsonValue | undefined {
    return this.has(key) ? this.value[key] : undefined;
  }

  name(key: string): string {
    return this.path === '' ? key : `${this.path}.${key}`;
  }

  error(key: string, expected: string): SemanticVlaError {
    const found = this.get(key);
    const shown = found === undefined ? 'nothing' : show(found);
    return new SemanticVlaError(
      this.#code,
      `${this.file}: ${this.name(key)}: expected ${expected}, found ${shown}.`,
    );
  }

  /** Integer in [min, max]; `fallback` only where the reference itself has that default. */
  integer(key: string, min: number, max: number, fallback?: number): number {
    const value = this.get(key) ?? fallback;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      throw this.error(key, `an integer from ${min} to ${max}`);
    }
    return value;
  }

  positive(key: string, fallback?: number): number {
    const value = this.get(key) ?? fallback;
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
      throw this.error(key, 'a positive number');
    return value;
  }

  boolean(key: string, fallback?: boolean): boolean {
    const value = this.get(key) ?? fallback;
    if (typeof value !== 'boolean') throw this.error(key, 'true or false');
    return value;
  }

  string(key: string, fallback?: string): string {
    const value = this.get(key) ?? fallback;
    if (typeof value !== 'string') throw this.error(key, 'a string');
    return value;
  }

  object(key: string): JsonFields {
    const value = this.get(key);
    if (!isJsonObject(value)) throw this.error(key, 'an object');
    return new JsonFields(this.file, this.name(key), value, this.#code);
  }

  /** The object at `index` of the list `key`. */
  element(key: string, index: number): JsonFields {
    const value = this.array(key)[index];
    if (!isJsonObject(value)) throw this.error(key, `a list with an object at ${index}`);
    return new JsonFields(this.file, `${this.name(key)}[${index}]`, value, this.#code);
  }

  array(key: string): readonly JsonValue[] {
    const value = this.get(key);
    if (!isJsonArray(value)) throw this.error(key, 'a list');
    return value;
  }

  numbers(key: string, length?: number): readonly number[] {
    const value = this.array(key);
    const numbers = value.filter((item): item is number => typeof item === 'number' && Number.isFinite(item));
    if (numbers.length !== value.length || (length !== undefined && numbers.length !== length)) {
      throw this.error(key, length === undefined ? 'a list of numbers' : `a list of ${length} numbers`);
    }
    return numbers;
  }
}

/** As the file has it: JSON.stringify makes NaN and Infinity null. */
function show(value: JsonValue): string {
  const text = JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'number' && !Number.isFinite(inner) ? `\u0001${inner}\u0001` : inner,
  );
  return text.replace(/"\\u0001(.*?)\\u0001"/g, '$1').slice(0, 200);
}
