/** Recorded episodes of scenes that the shipped policy was not trained on. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SemanticVlaError } from '../support/errors.ts';
import { reason } from '../support/fileAccess.ts';

const folder = fileURLToPath(new URL('../../models/cubes/episodes/', import.meta.url));

/**
 * What the shipped policy can be shown: episodes of a scripted demonstrator, each of its observations a folder for
 * `readObservation`.
 *
 * @returns folders of episodes, as `readEpisode` takes them
 * @throws (rejects) EPISODE_INVALID for an incomplete package
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
