/** HDF5 files through h5wasm, an optional package: the HDF5 library itself, which reads parts of a file where they lie. */

import { resolve } from 'node:path';
import { SemanticVlaError } from '../../support/errors.ts';
import { openRegular, reason } from '../../support/fileAccess.ts';
import { checkPackages, loadPackages } from '../../support/optionalPackage.ts';

/** The part of h5wasm that is used. */
interface H5Wasm {
  readonly ready: Promise<{ activate_throwing_error_handler(): number }>;
  readonly File: new (path: string, mode: 'r') => H5Group & { close(): number };
  readonly Group: new (...args: never[]) => H5Group;
  readonly Dataset: new (...args: never[]) => H5Dataset;
}

interface H5Group {
  keys(): string[];
  get(path: string): unknown;
  readonly attrs: Readonly<Record<string, { readonly value: unknown }>>;
}

interface H5Dataset {
  readonly shape: readonly number[] | null;
  readonly dtype: unknown;
  slice(ranges: readonly (readonly [number, number])[]): unknown;
}

const optional = { names: ['h5wasm'] } as const;
const signature = Buffer.from('\x89HDF\r\n\x1a\n', 'latin1');
/** h5wasm's own names of types: little or big endian, then the letter of Python's struct. */
const byteType = /^[<>|]?B$/;
const numberType = /^[<>|]?[bBhHiIlLqQefd]$/;

/** @throws PACKAGE_UNAVAILABLE */
export const checkH5wasm = (what: string): void => checkPackages(what, optional);

/** Whether the file begins as HDF5 files do; false for what is no readable file. */
export async function isHdf5(path: string): Promise<boolean> {
  try {
    const { handle } = await openRegular(path, { missing: 'DATASET_INVALID' });
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(signature.length), 0, signature.length, 0);
      return bytesRead === signature.length && buffer.equals(signature);
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof SemanticVlaError) return false;
    throw error;
  }
}

/** An open file. Calls read at once: the library has no other way. */
export class Hdf5File {
  readonly path: string;
  readonly #library: H5Wasm;
  readonly #file: H5Group & { close(): number };

  private constructor(path: string, library: H5Wasm, file: H5Group & { close(): number }) {
    this.path = path;
    this.#library = library;
    this.#file = file;
  }

  /** @throws (rejects) DATASET_INVALID, PACKAGE_UNAVAILABLE */
  static async open(path: string): Promise<Hdf5File> {
    const name: string = `${optional.names[0]}/node`;
    const library = await loadPackages(path, optional, () => import(name) as Promise<H5Wasm>);
    const { activate_throwing_error_handler: throwErrors } = await library.ready;
    // else the library prints on standard error and gives nothing
    throwErrors();
    await (await openRegular(path, { missing: 'DATASET_INVALID' })).handle.close();
    return new Hdf5File(
      path,
      library,
      attempt(path, () => new library.File(resolve(path), 'r')),
    );
  }

  close(): void {
    this.#file.close();
  }

  /** Names in a group; null: there is no such group. */
  names(group: string): readonly string[] | null {
    const found = attempt(this.path, () => this.#file.get(group));
    return found instanceof this.#library.Group ? attempt(this.path, () => found.keys()) : null;
  }

  /** Text or number of an attribute; undefined: there is none. */
  attribute(group: string, name: string): unknown {
    const found = attempt(this.path, () => this.#file.get(group));
    if (!(found instanceof this.#library.Group)) return undefined;
    return attempt(this.path, () =>
      Object.hasOwn(found.attrs, name) ? found.attrs[name]?.value : undefined,
    );
  }

  /** Shape of a dataset of numbers, and whether they are bytes; null: there is no such dataset. */
  shape(path: string): { readonly shape: readonly number[]; readonly isBytes: boolean } | null {
    const found = attempt(this.path, () => this.#file.get(path));
    if (!(found instanceof this.#library.Dataset) || found.shape === null) return null;
    const { dtype, shape } = found;
    if (typeof dtype !== 'string' || !numberType.test(dtype)) return null;
    return { shape, isBytes: byteType.test(dtype) };
  }

  /**
   * Rows [start, end) of a dataset, row-major.
   * @throws DATASET_INVALID
   */
  rows(path: string, start: number, end: number): ArrayLike<number | bigint> {
    const found = attempt(this.path, () => this.#file.get(path));
    const values =
      found instanceof this.#library.Dataset
        ? attempt(this.path, () => found.slice([[start, end]]))
        : undefined;
    if (ArrayBuffer.isView(values)) return values as unknown as ArrayLike<number | bigint>;
    throw new SemanticVlaError(
      'DATASET_INVALID',
      `${this.path}: expected numbers in ${path}, found none. Copy or download the file again.`,
    );
  }
}

function attempt<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw new SemanticVlaError(
      'DATASET_INVALID',
      `${path}: expected an HDF5 file that can be read, found: ${reasonIn(cause)}. Copy or download the file again.`,
      { cause },
    );
  }
}

/** The library's innermost line says what is wrong, e.g. `truncated file: eof = ...`. */
function reasonIn(cause: unknown): string {
  const lines = (cause instanceof Error ? cause.message : String(cause)).split('\n');
  const causes = lines
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^(major|minor):/.test(line));
  return (causes.at(-1) ?? reason(cause)).replace(/^#\d+: \S+ line \d+ in /, '');
}
