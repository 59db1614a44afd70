/** Finds the observations below folders, each with what the robot was told. */

import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { JsonFields } from '../checkpoint/jsonFields.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isFolder, isThere } from '../support/fileAccess.ts';
import type { Observation } from '../types.ts';
import { type FolderObservation, readObservation, readObservations } from './readObservation.ts';

/**
 * Every observation.json at or below the folders, and every entry of each observations.json, in the order of their paths.
 *
 * @param given instruction for all; default: the observation's own, else that of episode.json in the folder around it
 * @throws (rejects) OBSERVATION_INVALID, OPTION_REQUIRED where nobody says what the robot was told
 */
export async function storedObservations(
  folders: readonly string[],
  given?: string,
): Promise<{ observation: Observation; instruction: string }[]> {
  const found: { observation: Observation; instruction: string }[] = [];
  const add = async (place: string, around: string, { observation, instruction: own }: FolderObservation) => {
    const instruction = given ?? own ?? (await episodeInstruction(around));
    if (instruction === undefined) {
      throw new SemanticVlaError(
        'OPTION_REQUIRED',
        `${place}: expected an instruction, found none there and none in episode.json around it. Pass the option instruction.`,
      );
    }
    found.push({ observation, instruction });
  };
  for (const folder of folders) {
    const before = found.length;
    const files = (await isFolder(folder)) ? await readdir(folder, { recursive: true }) : [];
    for (const file of files.sort()) {
      const place = join(folder, file);
      if (basename(file) === 'observation.json') {
        await add(place, dirname(dirname(place)), await readObservation(dirname(place)));
      } else if (basename(file) === 'observations.json') {
        for (const one of await readObservations(place)) await add(place, dirname(place), one);
      }
    }
    if (found.length === before) {
      throw new SemanticVlaError(
        'OBSERVATION_INVALID',
        `${folder}: expected a folder with observation.json or observations.json there or below, found none.`,
      );
    }
  }
  return found;
}

async function episodeInstruction(folder: string): Promise<string | undefined> {
  const file = join(folder, 'episode.json');
  if (!(await isThere(file, 'EPISODE_INVALID'))) return undefined;
  const fields = await JsonFields.read(file, 'EPISODE_INVALID', 'EPISODE_INVALID');
  return fields.has('instruction') ? fields.string('instruction') : undefined;
}
