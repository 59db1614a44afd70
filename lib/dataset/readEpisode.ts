/**
 * A recorded episode: a folder with `episode.json`, the demonstrator's actions in one `.npy` file, and the observations to predict
 * from, each a folder as `--observation` takes it (docs/evaluate.md).
 */

import { basename, join, resolve } from 'node:path';
import { JsonFields } from '../checkpoint/jsonFields.ts';
import { npyNumbers, parseNpy } from '../observation/npy.ts';
import { readObservation } from '../observation/readObservation.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { readRegular } from '../support/fileAccess.ts';
import type { Episode, RecordedObservation } from './dataset.ts';

/** In bytes: hours of 50 dimensions at 50 Hz. */
const actionsCap = 64 << 20;
/** The highest rate of a controller, in steps per second. */
const maxRate = 10_000;

/**
 * Reads `episode.json` and the actions, but no observations.
 *
 * @param folder contains episode.json
 * @throws (rejects) EPISODE_INVALID, NPY_INVALID
 */
export async function readEpisode(folder: string): Promise<Episode> {
  const file = join(folder, 'episode.json');
  const fields = await JsonFields.read(file, 'EPISODE_INVALID', 'EPISODE_INVALID');
  const rate = fields.positive('rate');
  if (rate > maxRate) throw fields.error('rate', `steps a second, at most ${maxRate}`);
  const actionsFile = inside(fields, 'actions', folder);
  const bytes = await readRegular(actionsFile, { missing: 'EPISODE_INVALID', cap: actionsCap });
  const array = parseNpy(bytes, actionsFile);
  const [steps = 0, width = 0] = array.shape;
  const actions = npyNumbers(array);
  if (array.shape.length !== 2 || actions.length === 0 || !actions.every(Number.isFinite)) {
    throw new SemanticVlaError(
      'EPISODE_INVALID',
      `${actionsFile}: expected finite actions of shape (steps, dimensions), found (${array.shape.join(', ')})` +
        `${actions.every(Number.isFinite) ? '' : ' with values that are not finite'}.`,
    );
  }
  const observations = fields.array('observations').map((_, i) => {
    const one = fields.element('observations', i);
    return { step: one.integer('step', 0, steps - 1), folder: inside(one, 'folder', folder) };
  });
  const unordered = observations.findIndex(({ step }, i) => i > 0 && step <= observations[i - 1]!.step);
  if (observations.length === 0 || unordered >= 0)
    throw fields.error('observations', 'at least one, in the order of their steps');
  return {
    name: basename(resolve(folder)),
    source: folder,
    ...(fields.has('instruction') ? { instruction: fields.string('instruction') } : {}),
    rate,
    actions,
    shape: [steps, width],
    ...stepFolders(observations),
  };
}

/** One folder per step. */
export function stepFolders(
  folders: readonly { readonly step: number; readonly folder: string }[],
): Pick<Episode, 'steps' | 'observations'> {
  const byStep = new Map(folders.map(({ step, folder }) => [step, folder]));
  return {
    steps: [...byStep.keys()],
    async *observations(steps, signal): AsyncGenerator<RecordedObservation> {
      for (const step of steps) {
        signal?.throwIfAborted();
        yield { step, ...(await readObservation(byStep.get(step)!)) };
      }
    },
  };
}

/** Only plain names inside the folder are accepted, so that an episode can be moved or packed and cannot point elsewhere. */
function inside(fields: JsonFields, key: string, folder: string): string {
  const name = fields.string(key);
  if (!/^[\w][\w.-]*$/.test(name)) throw fields.error(key, 'the name of something in the folder');
  return join(folder, name);
}
