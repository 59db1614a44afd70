/** Finds the episodes in the given folders. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { isFolder, isThere, reason } from '../support/fileAccess.ts';

/**
 * @param folders each either an episode or a folder of episodes, which are sorted by name
 * @returns folders that contain an episode.json, at least one for each folder given
 * @throws (rejects) EPISODE_INVALID
 */
export async function findEpisodes(folders: readonly string[]): Promise<string[]> {
  const found = await Promise.all(folders.map(episodesOf));
  return found.flat();
}

async function episodesOf(folder: string): Promise<string[]> {
  if (!(await isFolder(folder)))
    throw invalid(folder, 'a folder with episode.json, or one of such folders', 'no folder');
  if (await isEpisode(folder)) return [folder];
  const entries = await readdir(folder).catch((cause: unknown) => {
    throw invalid(folder, 'a folder that can be read', reason(cause));
  });
  const below = entries.sort().map((name) => join(folder, name));
  const episodes: string[] = [];
  for (const path of below) if ((await isFolder(path)) && (await isEpisode(path))) episodes.push(path);
  if (episodes.length === 0) throw invalid(folder, 'episode.json there or one folder below', 'none');
  return episodes;
}

const isEpisode = (folder: string): Promise<boolean> =>
  isThere(join(folder, 'episode.json'), 'EPISODE_INVALID');

function invalid(folder: string, expected: string, found: string): SemanticVlaError {
  return new SemanticVlaError(
    'EPISODE_INVALID',
    `${folder}: expected ${expected}, found ${found}. docs/episodes.md says how an episode is recorded.`,
  );
}
