/**
 * What a LeRobot dataset says about itself (its meta folder): v2.0 and v2.1 keep one Parquet file and one video an episode, v3.0
 * packs many episodes into each.
 */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { JsonFields } from '../../checkpoint/jsonFields.ts';
import { parseJsonText } from '../../checkpoint/jsonFile.ts';
import { isJsonObject } from '../../checkpoint/strictJson.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import { readText, reason } from '../../support/fileAccess.ts';
import { ParquetFile } from '../parquetFile.ts';

export interface LeRobotFeature {
  readonly name: string;
  readonly kind: 'video' | 'image' | 'numbers';
  /** Numbers a step; 0 for frames. */
  readonly width: number;
}

/** Where an episode's frames are within a video file. */
export interface VideoPlace {
  readonly file: string;
  /** Seconds from the file's beginning. */
  readonly from: number;
  /** The file goes on after the episode. */
  readonly isShared: boolean;
}

export interface LeRobotEpisode {
  readonly number: number;
  readonly length: number;
  /** Parquet file with its rows. */
  readonly file: string;
  /** Number of its first row in that file. */
  readonly firstRow: number;
  /** How many rows the file must have; null: it holds other episodes too. */
  readonly fileRows: number | null;
  /** By name of a camera that is a video. */
  readonly videos: Readonly<Record<string, VideoPlace>>;
}

export interface LeRobotMetadata {
  readonly version: string;
  readonly rate: number;
  readonly features: readonly LeRobotFeature[];
  readonly episodes: ReadonlyMap<number, LeRobotEpisode>;
  readonly tasks: ReadonlyMap<number, string>;
}

const code = 'DATASET_INVALID';
/** In bytes: a million episodes. */
const linesCap = 512 << 20;
const maxEpisodes = 10_000_000;
const maxWidth = 4096;

/** @throws (rejects) DATASET_INVALID, DATASET_UNSUPPORTED, PACKAGE_UNAVAILABLE */
export async function readMetadata(path: string): Promise<LeRobotMetadata> {
  const info = await JsonFields.read(join(path, 'meta/info.json'), code, code);
  const version = info.string('codebase_version');
  const rate = info.positive('fps');
  const features = featuresOf(info.object('features'));
  if (/^v2\.[01]$/.test(version)) {
    const [episodes, tasks] = await Promise.all([oneFileAnEpisode(path, info, features), taskLines(path)]);
    return { version, rate, features, episodes, tasks };
  }
  if (version === 'v3.0') {
    const [episodes, tasks] = await Promise.all([packedEpisodes(path, info, features, rate), taskRows(path)]);
    return { version, rate, features, episodes, tasks };
  }
  throw new SemanticVlaError(
    'DATASET_UNSUPPORTED',
    `${info.file}: codebase_version: expected v2.0, v2.1 or v3.0, found ${version}. Convert it with the lerobot package: ` +
      'python -m lerobot.datasets.v30.convert_dataset_v21_to_v30 takes v2.1.',
  );
}

function featuresOf(fields: JsonFields): LeRobotFeature[] {
  return Object.keys(fields.value).map((name) => {
    const feature = fields.object(name);
    const dtype = feature.string('dtype');
    if (dtype === 'video' || dtype === 'image') return { name, kind: dtype, width: 0 };
    const shape = feature.has('shape') ? feature.numbers('shape') : [1];
    const width = shape.reduce((product, size) => product * size, 1);
    const isNumbers = /^(u?int|float|bool)/.test(dtype) && width >= 1 && width <= maxWidth;
    return { name, kind: 'numbers', width: isNumbers ? width : 0 };
  });
}

const videosOf = (features: readonly LeRobotFeature[]): readonly string[] =>
  features.filter(({ kind }) => kind === 'video').map(({ name }) => name);

async function oneFileAnEpisode(
  path: string,
  info: JsonFields,
  features: readonly LeRobotFeature[],
): Promise<Map<number, LeRobotEpisode>> {
  const chunkSize = info.integer('chunks_size', 1, maxEpisodes, 1000);
  const data = info.string('data_path');
  const file = 'meta/episodes.jsonl';
  const episodes = (await jsonLines(path, file)).map((fields): LeRobotEpisode => {
    const number = fields.integer('episode_index', 0, maxEpisodes);
    const length = fields.integer('length', 1, maxEpisodes);
    const values = { episode_index: number, episode_chunk: Math.floor(number / chunkSize) };
    const videos = videosOf(features).map((key) => [
      key,
      {
        file: placeOf(path, info, 'video_path', info.string('video_path'), { ...values, video_key: key }),
        from: 0,
        isShared: false,
      },
    ]);
    return {
      number,
      length,
      file: placeOf(path, info, 'data_path', data, values),
      firstRow: 0,
      fileRows: length,
      videos: Object.fromEntries(videos),
    };
  });
  return byNumber(episodes, join(path, file));
}

async function packedEpisodes(
  path: string,
  info: JsonFields,
  features: readonly LeRobotFeature[],
  rate: number,
): Promise<Map<number, LeRobotEpisode>> {
  const keys = videosOf(features);
  const own = ['episode_index', 'length', 'data/chunk_index', 'data/file_index', 'dataset_from_index'];
  const ofVideo = ['chunk_index', 'file_index', 'from_timestamp', 'to_timestamp'];
  const columns = [...own, ...keys.flatMap((key) => ofVideo.map((name) => `videos/${key}/${name}`))];
  const rows: Readonly<Record<string, unknown>>[] = [];
  for (const file of await parquetBelow(join(path, 'meta/episodes'))) {
    for (const row of await ParquetFile.use(file, (parquet) => parquet.read(columns))) rows.push(row);
  }
  const meta = join(path, 'meta/episodes');
  const number = (row: Readonly<Record<string, unknown>>, name: string): number => {
    const value = row[name];
    if ((typeof value === 'number' && Number.isFinite(value)) || typeof value === 'bigint')
      return Number(value);
    throw new SemanticVlaError(
      code,
      `${meta}: ${name} of an episode: expected a number, found ${String(value)}. Copy or download the dataset again.`,
    );
  };
  const fileOf = (row: Readonly<Record<string, unknown>>): string =>
    placeOf(path, info, 'data_path', info.string('data_path'), {
      chunk_index: number(row, 'data/chunk_index'),
      file_index: number(row, 'data/file_index'),
    });
  // rows are numbered through the dataset: a file begins with the first of its episodes
  const begins = new Map<string, number>();
  for (const row of rows) {
    const file = fileOf(row);
    begins.set(
      file,
      Math.min(begins.get(file) ?? Number.POSITIVE_INFINITY, number(row, 'dataset_from_index')),
    );
  }
  const episodes = rows.map((row): LeRobotEpisode => {
    const file = fileOf(row);
    const length = number(row, 'length');
    const videos = keys.map((key) => {
      const from = number(row, `videos/${key}/from_timestamp`);
      const seconds = number(row, `videos/${key}/to_timestamp`) - from;
      if (Math.abs(seconds * rate - length) >= 0.5) {
        throw new SemanticVlaError(
          code,
          `${meta}: episode ${number(row, 'episode_index')}: expected ${length} frames of ${key}, as there are rows, found ` +
            `${(seconds * rate).toFixed(1)} between its timestamps at ${rate} a second. Leave this episode out with the option episodes, or convert the dataset again.`,
        );
      }
      const place = placeOf(path, info, 'video_path', info.string('video_path'), {
        video_key: key,
        chunk_index: number(row, `videos/${key}/chunk_index`),
        file_index: number(row, `videos/${key}/file_index`),
      });
      return [key, { file: place, from, isShared: true }];
    });
    return {
      number: number(row, 'episode_index'),
      length,
      file,
      firstRow: number(row, 'dataset_from_index') - begins.get(file)!,
      fileRows: null,
      videos: Object.fromEntries(videos),
    };
  });
  return byNumber(episodes, meta);
}

function byNumber(episodes: readonly LeRobotEpisode[], where: string): Map<number, LeRobotEpisode> {
  if (episodes.length === 0)
    throw new SemanticVlaError(
      code,
      `${where}: expected at least one episode, found none. Copy the dataset again.`,
    );
  const sorted = episodes.toSorted((a, b) => a.number - b.number);
  const twice = sorted.find(({ number }, i) => i > 0 && number === sorted[i - 1]!.number);
  if (twice === undefined) return new Map(sorted.map((episode) => [episode.number, episode]));
  throw new SemanticVlaError(
    code,
    `${where}: expected each episode once, found episode ${twice.number} twice. Copy the dataset again.`,
  );
}

/** Python's format fields, `{episode_index:06d}`, filled; the result stays in the dataset's folder. */
function placeOf(
  path: string,
  info: JsonFields,
  key: string,
  template: string,
  values: Readonly<Record<string, string | number>>,
): string {
  const place = template.replace(/\{(\w+)(?::0(\d+)d)?\}/g, (_, name: string, digits?: string) => {
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    if (value === undefined) throw info.error(key, `fields ${Object.keys(values).join(', ')}`);
    return String(value).padStart(Number(digits ?? 0), '0');
  });
  if (place.startsWith('/') || place.split('/').includes('..') || /[{}]/.test(place))
    throw info.error(key, 'a path inside the dataset');
  return join(path, place);
}

async function jsonLines(path: string, name: string): Promise<JsonFields[]> {
  const file = join(path, name);
  const text = await readText(file, { missing: code, cap: linesCap });
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line, i) => {
      const value = parseJsonText(line, `${file}, line ${i + 1}`, { missing: code, dialect: 'python' });
      if (isJsonObject(value)) return new JsonFields(`${file}, line ${i + 1}`, '', value, code);
      throw new SemanticVlaError(
        code,
        `${file}, line ${i + 1}: expected a JSON object. Copy the file again.`,
      );
    });
}

async function taskLines(path: string): Promise<Map<number, string>> {
  const lines = await jsonLines(path, 'meta/tasks.jsonl');
  return new Map(
    lines.map((fields) => [fields.integer('task_index', 0, maxEpisodes), fields.string('task')]),
  );
}

/** pandas keeps the sentence as the index of the table: its column has the index's name, or none. */
async function taskRows(path: string): Promise<Map<number, string>> {
  const file = join(path, 'meta/tasks.parquet');
  return ParquetFile.use(file, async (parquet) => {
    const text = ['task', '__index_level_0__'].find((name) => parquet.columns.includes(name));
    if (text === undefined) {
      throw new SemanticVlaError(
        code,
        `${file}: expected the sentences in a column task or __index_level_0__, found ${parquet.columns.join(', ')}. Convert the dataset again.`,
      );
    }
    const rows = await parquet.read(['task_index', text]);
    return new Map(rows.map((row) => [Number(row.task_index), String(row[text])]));
  });
}

async function parquetBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw new SemanticVlaError(
      code,
      `${folder}: expected a folder with Parquet files, found ${reason(cause)}. Copy or download the dataset again.`,
      { cause },
    );
  });
  return entries
    .filter((name) => name.endsWith('.parquet'))
    .sort()
    .map((name) => join(folder, name));
}
