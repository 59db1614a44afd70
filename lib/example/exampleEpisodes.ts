/** Recorded episodes of scenes that the shipped policy was not trained on. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SemanticVlaError } from '../support/errors.ts';
import { reason } from '../support/fileAccess.ts';

const folder = fileURLToPath(new URL('../../models/libero/episodes/', import.meta.url));

/**
 * The episodes to try the shipped policy on: recordings of a scripted demonstrator, with observations for `readObservation`.
 *
 * @returns folders of episodes, as `readEpisode` takes them
 * @throws (rejects) EPISODE_INVALID if the package is incomplete
 */
export async function exampleEpisodes(): Promise<string[]> {
  const names = await readdir(folder).catch((cause: unknown) => {
    throw new SemanticVlaError(
      'EPISODE_INVALID',
      `${folder}: expected the episodes of the package, found ${reason(cause)}. Install the package again.`,
      { cause },
    );
  });
  return names.sort().map((name) => join(folder, name));
}
