/** Folders in this program's own formats: episodes with episode.json, or observations without a demonstrator. */

import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { isFolder, isThere, reason } from '../support/fileAccess.ts';
import { convertGripper, turned } from './columns.ts';
import type { Columns, Dataset, Episode, RecordedObservation } from './dataset.ts';
import { readEpisode, stepFolders } from './readEpisode.ts';

/** The files that identify such a folder, or one inside it. */
const kinds = [
  ['episode.json', 'episode folders'],
  ['observation.json', 'observation folders'],
] as const;

/**
 * @param path an episode, an observation, or a folder of either, which are sorted by name
 * @returns null if it contains none
 * @throws (rejects) EPISODE_INVALID if it cannot be read
 */
export async function openFolders(path: string): Promise<Dataset | null> {
  for (const [file, format] of kinds) {
    const folders = await foldersWith(file, path);
    if (folders.length === 0) continue;
    const isDemonstrated = file === 'episode.json';
    const episodes = isDemonstrated ? folders : [path];
    return {
      format,
      path,
      name: basename(resolve(path)),
      numbers: [...episodes.keys()],
      features: null,
      usual: { turn: 0, gripper: 'same' },
      notes: isDemonstrated ? [] : ['no demonstrator: observations alone say nothing about errors'],
      open: async (number, columns) => {
        const episode = isDemonstrated ? await readEpisode(episodes[number]!) : observationsOf(path, folders);
        return withColumns(episode, columns);
      },
    };
  }
  return null;
}

/** Observations as one episode without a demonstrator: each has its own sentence, and a step is merely its number. */
function observationsOf(path: string, folders: readonly string[]): Episode {
  return {
    name: basename(resolve(path)),
    source: path,
    rate: 1,
    actions: new Float64Array(0),
    shape: [0, 0],
    ...stepFolders(folders.map((folder, step) => ({ step, folder }))),
  };
}

/** Renames the cameras as in the policy, and turns the frames. */
function withColumns(recorded: Episode, { cameras, turn, gripper }: Columns): Episode {
  const actions = convertGripper(recorded.actions, recorded.shape[1], gripper);
  const episode = { ...recorded, actions };
  const renamed = Object.entries(cameras).filter(([name, key]) => name !== key);
  if (renamed.length === 0 && turn === 0) return episode;
  return {
    ...episode,
    async *observations(steps, signal): AsyncGenerator<RecordedObservation> {
      for await (const { observation, ...rest } of episode.observations(steps, signal)) {
        const found = Object.keys(observation.images);
        const images = Object.entries(cameras).map(([name, key]) => {
          const frame = observation.images[key];
          if (frame !== undefined) return [name, turned(frame, turn)] as const;
          throw new SemanticVlaError(
            'FEATURE_REQUIRED',
            `${episode.source}, step ${rest.step}: expected the camera ${key}, found ${found.join(', ')}. Pass the option keys.cameras with one of them.`,
          );
        });
        yield { ...rest, observation: { ...observation, images: Object.fromEntries(images) } };
      }
    },
  };
}

async function foldersWith(file: string, path: string): Promise<string[]> {
  const has = (folder: string): Promise<boolean> => isThere(join(folder, file), 'EPISODE_INVALID');
  if (await has(path)) return [path];
  const entries = await readdir(path).catch((cause: unknown) => {
    throw new SemanticVlaError(
      'EPISODE_INVALID',
      `${path}: expected a folder that can be read, found ${reason(cause)}.`,
      { cause },
    );
  });
  const found: string[] = [];
  for (const below of entries.sort().map((name) => join(path, name))) {
    if ((await isFolder(below)) && (await has(below))) found.push(below);
  }
  return found;
}
