/** LeRobot datasets (v2.0, v2.1, v3.0): numbers and images in Parquet files, videos in MP4. */

import { basename, resolve } from 'node:path';
import { decodeImage } from '../../observation/decodeImage.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import type { ImageFrame } from '../../types.ts';
import { convertGripper, turned } from '../columns.ts';
import type { Columns, Dataset, Episode, RecordedObservation } from '../dataset.ts';
import { type Joined, joinRows } from '../numbers.ts';
import { checkHyparquet, ParquetFile } from '../parquetFile.ts';
import { videoFrames } from '../video.ts';
import { type LeRobotEpisode, type LeRobotMetadata, readMetadata } from './metadata.ts';

/** What every LeRobot dataset has, besides what was recorded. */
const ownColumns = ['episode_index', 'frame_index', 'timestamp', 'task_index', 'index'];
/** Rows of images read at once: some are a few hundred KB each. */
const imageRows = 64;

/** @throws (rejects) DATASET_INVALID, DATASET_UNSUPPORTED, PACKAGE_UNAVAILABLE */
export async function openLeRobot(path: string): Promise<Dataset> {
  checkHyparquet(path);
  const metadata = await readMetadata(path);
  const { version, features, episodes } = metadata;
  const numbers = features.filter(
    ({ name, kind, width }) => kind === 'numbers' && width > 0 && !ownColumns.includes(name),
  );
  return {
    format: `LeRobot ${version}`,
    path,
    name: basename(resolve(path)),
    numbers: [...episodes.keys()],
    features: {
      cameras: features.filter(({ kind }) => kind !== 'numbers').map(({ name }) => name),
      vectors: Object.fromEntries(numbers.map(({ name, width }) => [name, width])),
    },
    notes: [],
    open: (number, columns) => openEpisode(metadata, episodes.get(number)!, columns),
  };
}

async function openEpisode(
  metadata: LeRobotMetadata,
  place: LeRobotEpisode,
  columns: Columns,
): Promise<Episode> {
  const { file, number, length, firstRow, fileRows } = place;
  const source = `${file}, episode ${number}`;
  const rows = await ParquetFile.use(file, (parquet) => {
    if (fileRows !== null && parquet.rows !== fileRows) {
      throw new SemanticVlaError(
        'DATASET_INVALID',
        `${file}: expected ${fileRows} rows, as meta/episodes.jsonl says, found ${parquet.rows}. Copy or download the file again, or leave the episode out with the option episodes.`,
      );
    }
    const names = new Set([...ownColumns, ...columns.state, ...columns.action]);
    return parquet.read([...names], firstRow, firstRow + length);
  });
  const wrong = rows.findIndex(
    ({ episode_index, frame_index }, i) => Number(episode_index) !== number || Number(frame_index) !== i,
  );
  if (wrong >= 0) {
    const { episode_index, frame_index } = rows[wrong]!;
    throw new SemanticVlaError(
      'DATASET_INVALID',
      `${file}, row ${firstRow + wrong}: expected frame ${wrong} of episode ${number}, found frame ${String(frame_index)} of episode ${String(episode_index)}. ` +
        'Copy or convert the dataset again.',
    );
  }
  const actions = joinRows(rows, columns.action, source);
  const states = columns.state.length === 0 ? null : joinRows(rows, columns.state, source);
  const sentences = rows.map(({ task_index }) => {
    const task = metadata.tasks.get(Number(task_index));
    if (task !== undefined) return task;
    throw new SemanticVlaError(
      'DATASET_INVALID',
      `${source}: expected the sentence of task ${String(task_index)} in the dataset's meta folder, found none. Copy or convert the dataset again.`,
    );
  });
  const isOneTask = sentences.every((sentence) => sentence === sentences[0]);
  const times = rows.map(({ timestamp }) => Number(timestamp));
  return {
    name: `episode ${number}`,
    source,
    ...(isOneTask ? { instruction: sentences[0]! } : {}),
    rate: metadata.rate,
    actions: convertGripper(actions.values, actions.width, columns.gripper),
    shape: [length, actions.width],
    steps: rows.map((_, step) => step),
    async *observations(steps, signal): AsyncGenerator<RecordedObservation> {
      const cameras = Object.entries(columns.cameras).map(([camera, name]) => ({
        camera,
        frames: framesOf(metadata, place, name, times, steps, signal),
      }));
      try {
        for (const step of steps) {
          signal?.throwIfAborted();
          const images = await Promise.all(
            cameras.map(async ({ camera, frames }) => {
              const { value } = await frames.next();
              return [camera, turned(value as ImageFrame, columns.turn)] as const;
            }),
          );
          yield {
            step,
            instruction: sentences[step]!,
            observation: { images: Object.fromEntries(images), ...stateAt(states, step) },
          };
        }
        // a video ends where the rows do, which is seen when the last frame has been taken
        for (const { frames } of cameras) await frames.next();
      } finally {
        await Promise.all(cameras.map(({ frames }) => frames.return(undefined)));
      }
    },
  };
}

const stateAt = (states: Joined | null, step: number): { readonly state?: Float64Array } =>
  states === null ? {} : { state: states.values.subarray(step * states.width, (step + 1) * states.width) };

function framesOf(
  { features, rate }: LeRobotMetadata,
  place: LeRobotEpisode,
  name: string,
  times: readonly number[],
  steps: readonly number[],
  signal: AbortSignal | undefined,
): AsyncGenerator<ImageFrame, void, undefined> {
  const video = place.videos[name];
  if (features.find((feature) => feature.name === name)?.kind !== 'video' || video === undefined)
    return imageFrames(place, name, steps);
  return videoFrames({ ...video, times, rate, steps, ...(signal === undefined ? {} : { signal }) });
}

/** Encoded images are held for a block of rows, decoded one at a time. */
async function* imageFrames(
  { file, firstRow, number }: LeRobotEpisode,
  name: string,
  steps: readonly number[],
): AsyncGenerator<ImageFrame, void, undefined> {
  for (let from = 0; from < steps.length; ) {
    const first = steps[from]!;
    const block = steps.slice(from).filter((step) => step < first + imageRows);
    const rows = await ParquetFile.use(file, (parquet) =>
      parquet.read([name], firstRow + first, firstRow + block.at(-1)! + 1, true),
    );
    for (const step of block) {
      const what = `${file}, episode ${number}, step ${step}, ${name}`;
      yield await decodeImage(encodedIn(rows[step - first]![name], what), what);
    }
    from += block.length;
  }
}

/** Hugging Face's image type: its bytes, and the name of the file that they came from. */
function encodedIn(cell: unknown, what: string): Uint8Array {
  const bytes = (cell as { readonly bytes?: unknown } | null)?.bytes ?? cell;
  if (bytes instanceof Uint8Array) return bytes;
  throw new SemanticVlaError(
    'DATASET_INVALID',
    `${what}: expected the bytes of a PNG or JPEG image in the Parquet file, found ${bytes === null || bytes === undefined ? 'none' : `a ${typeof bytes}`}. ` +
      'Images beside the file are not read: embed them (lerobot does when it saves an episode).',
  );
}
