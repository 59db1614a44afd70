/** Files that a command writes: whole or not at all. */

import { randomBytes } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import { SemanticVlaError } from '../support/errors.ts';

/** @throws (rejects) OUTPUT_UNWRITABLE */
export async function writeOutput(file: string, bytes: Uint8Array): Promise<void> {
  const partial = `${file}.${randomBytes(4).toString('hex')}.partial`;
  try {
    await writeFile(partial, bytes, { flag: 'wx' });
    await rename(partial, file);
  } catch (cause) {
    await rm(partial, { force: true });
    throw new SemanticVlaError(
      'OUTPUT_UNWRITABLE',
      `${file}: expected a file that can be written, found ${(cause as Error).message}. Choose another path.`,
      { cause },
    );
  }
}
