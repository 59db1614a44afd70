/** Reads rows of some columns of Parquet files with hyparquet, an optional package. */

import type { FileHandle } from 'node:fs/promises';
import * as zlib from 'node:zlib';
import { SemanticVlaError } from '../support/errors.ts';
import { openRegular, readExactly } from '../support/fileAccess.ts';
import { checkPackages, loadPackages } from '../support/optionalPackage.ts';

/** The part of hyparquet that is used. */
interface Hyparquet {
  parquetMetadataAsync(file: AsyncBytes): Promise<Metadata>;
  parquetReadObjects(options: {
    readonly file: AsyncBytes;
    readonly metadata: Metadata;
    readonly columns: readonly string[];
    readonly rowStart: number;
    readonly rowEnd: number;
    readonly utf8: boolean;
    readonly compressors: Readonly<Record<string, Decompress>>;
  }): Promise<Record<string, unknown>[]>;
  parquetSchema(metadata: Metadata): {
    readonly children: readonly { readonly element: { readonly name: string } }[];
  };
}

interface AsyncBytes {
  readonly byteLength: number;
  slice(start: number, end?: number): Promise<ArrayBuffer>;
}

interface Metadata {
  readonly num_rows: bigint;
}

type Decompress = (bytes: Uint8Array) => Uint8Array;

const optional = { names: ['hyparquet'] } as const;

/** In addition to Snappy and uncompressed data, which hyparquet supports; Zstandard from Node 22.15 on. */
const compressors: Readonly<Record<string, Decompress>> = {
  GZIP: (bytes) => zlib.gunzipSync(bytes),
  BROTLI: (bytes) => zlib.brotliDecompressSync(bytes),
  ...('zstdDecompressSync' in zlib ? { ZSTD: zlib.zstdDecompressSync as Decompress } : {}),
};

/** @param what needs it @throws PACKAGE_UNAVAILABLE */
export const checkHyparquet = (what: string): void => checkPackages(what, optional);

export class ParquetFile {
  readonly path: string;
  readonly rows: number;
  readonly columns: readonly string[];
  readonly #library: Hyparquet;
  readonly #file: AsyncBytes;
  readonly #metadata: Metadata;

  private constructor(path: string, library: Hyparquet, file: AsyncBytes, metadata: Metadata) {
    this.path = path;
    this.rows = Number(metadata.num_rows);
    this.columns = library.parquetSchema(metadata).children.map(({ element }) => element.name);
    this.#library = library;
    this.#file = file;
    this.#metadata = metadata;
  }

  /** Opens a file while `body` runs. @throws (rejects) DATASET_INVALID, DATASET_UNSUPPORTED, PACKAGE_UNAVAILABLE */
  static async use<T>(path: string, body: (file: ParquetFile) => Promise<T>): Promise<T> {
    const name: string = optional.names[0];
    const library = await loadPackages(path, optional, () => import(name) as Promise<Hyparquet>);
    const { handle, size } = await openRegular(path, { missing: 'DATASET_INVALID' });
    try {
      const file = bytesOf(handle, size, path);
      const metadata = await attempt(path, () => library.parquetMetadataAsync(file));
      return await body(new ParquetFile(path, library, file, metadata));
    } finally {
      await handle.close();
    }
  }

  /**
   * Rows [start, end) of some columns. Text columns are strings, or bytes if `bytes` is true.
   * @throws (rejects) DATASET_INVALID if a column is missing or the file is damaged
   */
  async read(
    columns: readonly string[],
    start = 0,
    end: number = this.rows,
    bytes = false,
  ): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const missing = columns.find((name) => !this.columns.includes(name));
    if (missing !== undefined) throw invalid(this.path, `a column ${missing}`, this.columns.join(', '));
    if (end > this.rows) throw invalid(this.path, `${end} rows`, String(this.rows));
    const rows = await attempt(this.path, () =>
      this.#library.parquetReadObjects({
        file: this.#file,
        metadata: this.#metadata,
        columns,
        rowStart: start,
        rowEnd: end,
        utf8: !bytes,
        compressors,
      }),
    );
    if (rows.length !== end - start) throw invalid(this.path, `${end - start} rows`, String(rows.length));
    return rows;
  }
}

function bytesOf(handle: FileHandle, size: number, path: string): AsyncBytes {
  return {
    byteLength: size,
    slice: async (start, end = size) => {
      const { buffer } = await readExactly(
        handle,
        start,
        Math.min(end, size) - start,
        path,
        'DATASET_INVALID',
      );
      return buffer as ArrayBuffer;
    },
  };
}

async function attempt<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof SemanticVlaError) throw cause;
    const message = cause instanceof Error ? cause.message : String(cause);
    const codec = /unsupported compression codec: (\w+)/.exec(message)?.[1];
    if (codec === undefined) throw invalid(path, 'a Parquet file that can be read', message, cause);
    throw new SemanticVlaError(
      'DATASET_UNSUPPORTED',
      `${path}: expected columns compressed with Snappy, gzip or Brotli (or Zstandard, with Node 22.15 or newer), found ${codec}. ` +
        "Write it again with pyarrow: pq.write_table(pq.read_table(FILE), FILE, compression='snappy').",
      { cause },
    );
  }
}

function invalid(path: string, expected: string, found: string, cause?: unknown): SemanticVlaError {
  return new SemanticVlaError(
    'DATASET_INVALID',
    `${path}: expected ${expected}, found ${found}. Copy or download the file again.`,
    { cause },
  );
}
