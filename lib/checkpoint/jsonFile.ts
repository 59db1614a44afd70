/** JSON side files of a checkpoint or an observation: bounded, UTF-8 with or without a byte order mark. */

import { SemanticVlaError } from '../support/errors.ts';
import { type FileCodes, readText } from '../support/fileAccess.ts';
import { type JsonDialect, type JsonValue, parseStrictJson } from './strictJson.ts';

/** Largest JSON side file that is read, bytes. The largest seen, a tokenizer.json of Llama, has 4 MB. */
const jsonFileCap = 16 * 1024 * 1024;

/** The value in `file`. @throws (rejects) `codes` */
export async function readJsonFile(
  file: string,
  codes: FileCodes & { readonly cap?: number; readonly dialect?: JsonDialect },
): Promise<JsonValue> {
  return parseJsonText(await readText(file, { cap: jsonFileCap, ...codes }), file, codes);
}

/** @param file named in messages */
export function parseJsonText(
  text: string,
  file: string,
  codes: FileCodes & { readonly dialect?: JsonDialect },
): JsonValue {
  try {
    return parseStrictJson(text, codes.dialect);
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new SemanticVlaError(
      codes.invalid ?? codes.missing,
      `${file}: expected JSON, found ${problem}. Copy or download the file again.`,
      { cause },
    );
  }
}
