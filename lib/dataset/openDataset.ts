/** The one entrance for recorded episodes: their kind is recognized by content, not by name. */

import { join } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { isFolder, isThere, whatIsAt } from '../support/fileAccess.ts';
import type { Dataset } from './dataset.ts';
import { openFolders } from './folders.ts';
import { openLiberoFiles } from './hdf5/liberoFiles.ts';
import { openLeRobot } from './lerobot/lerobotDataset.ts';

/**
 * Opens a LeRobot dataset, HDF5 files of LIBERO, or folders of episodes or of observations. Reads the description of the
 * episodes, but none of them.
 *
 * @throws (rejects) EPISODE_INVALID if there is none of these; DATASET_INVALID, DATASET_UNSUPPORTED, PACKAGE_UNAVAILABLE
 */
export async function openDataset(path: string): Promise<Dataset> {
  const isAFolder = await isFolder(path);
  if (isAFolder && (await isLeRobot(path))) return openLeRobot(path);
  const folders = isAFolder ? await openFolders(path) : null;
  const dataset = folders ?? (await openLiberoFiles(path));
  if (dataset === null) throw nothingKnown(path, isAFolder ? 'none of these' : await whatIsAt(path));
  return dataset;
}

async function isLeRobot(path: string): Promise<boolean> {
  return (await isFolder(join(path, 'meta'))) && isThere(join(path, 'meta/info.json'), 'EPISODE_INVALID');
}

function nothingKnown(path: string, found: string): SemanticVlaError {
  return new SemanticVlaError(
    'EPISODE_INVALID',
    `${path}: expected a LeRobot dataset (meta/info.json), HDF5 files of LIBERO, or episode.json or observation.json there or one folder below, found ${found}. ` +
      'docs/evaluate.md says what is read.',
  );
}
