/** The trained policy that ships with the program (models/libero). */

import { checkOptions } from '../support/options.ts';
import { type ExampleOptions, packedCheckpoint } from './packedCheckpoint.ts';

/**
 * Unpacks the trained policy that ships with the program, in the layout that training leaves, for `loadPolicy`. It does the ten
 * tasks of LIBERO-Object; models/libero/MODEL_CARD.md says from which data, how well, and what it cannot.
 *
 * @returns the complete checkpoint folder, inside the cache folder
 * @throws (rejects) CHECKPOINT_FILE_MISSING or CHECKPOINT_CHANGED if the package is incomplete, CACHE_UNWRITABLE, OPTION_*, or
 *   the signal's reason
 */
export async function exampleCheckpoint(options: ExampleOptions = {}): Promise<string> {
  checkOptions(options, ['cacheDir', 'onNotice', 'signal'], 'exampleCheckpoint');
  return packedCheckpoint('libero', options);
}
