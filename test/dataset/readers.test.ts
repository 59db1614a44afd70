/** Datasets that others wrote: the same numbers and pixels as Python's readers, and a refusal by name for what is damaged. */

import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { convertGripper, turned } from '../../lib/dataset/columns.ts';
import { openDataset } from '../../lib/dataset/openDataset.ts';
import { findFfmpeg } from '../helpers/datasetPython.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { testWhen } from '../helpers/skip.ts';
import { compare, open, recorded, reference, refusal } from './recorded.ts';

const test = suite('dataset readers');
const found = findFfmpeg();
const reason = 'missing' in found ? found.missing : '';
if ('ffmpeg' in found) process.env.SEMANTICVLA_FFMPEG = found.ffmpeg;

const av1 = 'lerobot-v2.1-av1';
const h264 = 'lerobot-v3.0-h264';
const images = 'lerobot-v3.0-images';
const file = 'data/chunk-000/episode_000001.parquet';
const video = 'videos/chunk-000/observation.images.full_image/episode_000001.mp4';

/** A copy to damage. */
function copy(name: string): string {
  const path = join(mkdtempSync(join(scratchFolder(), 'dataset-')), name);
  cpSync(join(recorded, name), path, { recursive: true });
  return path;
}

const edit = (path: string, change: (text: string) => string): void =>
  writeFileSync(path, change(readFileSync(path, 'utf8')));

const readAll = async (path: string, number: number): Promise<number> => {
  const episode = await open(await openDataset(path), number);
  let count = 0;
  for await (const _ of episode.observations(episode.steps)) count++;
  return count;
};

for (const name of [images, 'cubes_no_noops', 'raw_demo.hdf5']) {
  test(`${name}: every number and pixel is what Python's readers find`, () =>
    compare(join(recorded, name), reference[name]!));
}

for (const name of [av1, h264]) {
  testWhen('ffmpeg' in found, reason, test, `${name}: every number and pixel is what PyAV decodes`, () =>
    compare(join(recorded, name), reference[name]!),
  );
}

test('what a dataset says of itself', async () => {
  const facts = async (name: string) => {
    const { format, name: called, numbers, notes, usual } = await openDataset(join(recorded, name));
    return { format, called, numbers, notes: notes.length, usual };
  };
  assert.equal(await facts(av1), {
    format: 'LeRobot v2.1',
    called: av1,
    numbers: [0, 1],
    notes: 0,
    usual: undefined,
  });
  assert.equal(await facts('cubes_no_noops'), {
    format: 'LIBERO HDF5',
    called: 'cubes_no_noops',
    numbers: [0],
    notes: 0,
    usual: { turn: 180, gripper: 'libero' },
  });
  const raw = await facts('raw_demo.hdf5');
  // the file's folder is what the data are called
  assert.equal([raw.called, raw.notes], ['recorded', 1]);
  const sentences = ['cubes_no_noops', 'raw_demo.hdf5'].map(async (name) => {
    const { instruction, steps, shape } = await open(await openDataset(join(recorded, name)), 0);
    return [instruction, steps, shape];
  });
  assert.equal(await Promise.all(sentences), [
    // the name of the file, after the scene
    ['pick up the left box', [0, 1, 2, 3, 4, 5], [6, 7]],
    // the attribute; what was seen after the first action belongs to the second
    ['pick up the block next to the purple cube', [1, 2, 3], [4, 7]],
  ]);
});

test('frames of some steps only, the same as among all', async () => {
  for (const name of [images, 'cubes_no_noops', ...('ffmpeg' in found ? [h264] : [])]) {
    const dataset = await openDataset(join(recorded, name));
    const episode = await open(dataset, dataset.numbers.at(-1)!);
    const all = new Map<number, Uint8Array>();
    for await (const { step, observation } of episode.observations(episode.steps))
      all.set(step, observation.images.wrist_image!.data);
    const some: number[] = [];
    for await (const { step, observation } of episode.observations([1, 4])) {
      some.push(step);
      assert.equal(observation.images.wrist_image!.data, all.get(step), name);
    }
    assert.equal(some, [1, 4]);
    // one that stops early, and one that is aborted
    for await (const _ of episode.observations(episode.steps)) break;
    const aborted = new AbortController();
    const reading = (async () => {
      for await (const _ of episode.observations(episode.steps, aborted.signal)) aborted.abort();
    })();
    const cause = await reading.catch((error: unknown) => error);
    assert.is((cause as Error).name, 'AbortError', name);
  }
});

test('turning twice is no turn; the gripper of the simulator is that of the training data', () => {
  const data = Uint8Array.from({ length: 2 * 3 * 3 }, (_, i) => i);
  const frame = { data, width: 3, height: 2 };
  assert.equal([...turned(frame, 180).data.subarray(0, 6)], [15, 16, 17, 12, 13, 14]);
  assert.equal(turned(turned(frame, 180), 180).data, data);
  assert.equal(
    [...convertGripper(Float64Array.of(5, -1, 5, 1, 5, 0.25), 2, 'libero')],
    [5, 1, 5, 0, 5, 0.75],
  );
});

test('metadata that is damaged, of another version, or points elsewhere', async () => {
  const cases: readonly (readonly [
    file: string,
    change: (text: string) => string,
    code: string,
    words: RegExp,
  ])[] = [
    [
      'meta/info.json',
      (text) => text.replace('v2.1', 'v1.6'),
      'DATASET_UNSUPPORTED',
      /expected v2\.0, v2\.1 or v3\.0, found v1\.6/,
    ],
    ['meta/info.json', (text) => text.slice(0, 99), 'DATASET_INVALID', /info\.json: expected JSON/],
    [
      'meta/info.json',
      (text) => text.replace('"data/chunk', '"../data/chunk'),
      'DATASET_INVALID',
      /data_path: expected a path inside the dataset/,
    ],
    [
      'meta/info.json',
      (text) => text.replace('{episode_index:06d}.parquet', '{episode}.parquet'),
      'DATASET_INVALID',
      /data_path: expected fields episode_index/,
    ],
    [
      'meta/episodes.jsonl',
      (text) => text.replace('"episode_index": 1', '"episode_index": 0'),
      'DATASET_INVALID',
      /episode 0 twice/,
    ],
    [
      'meta/episodes.jsonl',
      (text) => text.slice(0, 20),
      'DATASET_INVALID',
      /episodes\.jsonl, line 1: expected JSON/,
    ],
    ['meta/episodes.jsonl', () => '\n', 'DATASET_INVALID', /at least one episode/],
  ];
  for (const [name, change, code, words] of cases) {
    const path = copy(av1);
    edit(join(path, name), change);
    const error = await refusal(() => openDataset(path));
    assert.is(error.code, code, error.message);
    assert.match(error.message, words);
  }
  const path = copy(av1);
  rmSync(join(path, 'meta/tasks.jsonl'));
  assert.match((await refusal(() => openDataset(path))).message, /tasks\.jsonl: expected a readable file/);
});

test('Parquet files that are cut off, missing, of another episode or of another length', async () => {
  const cut = copy(av1);
  truncateSync(join(cut, file), 3000);
  const missing = copy(av1);
  rmSync(join(missing, file));
  const exchanged = copy(av1);
  cpSync(join(exchanged, 'data/chunk-000/episode_000000.parquet'), join(exchanged, file));
  const relabelled = copy(av1);
  cpSync(join(relabelled, file), join(relabelled, 'data/chunk-000/episode_000000.parquet'));
  edit(join(relabelled, 'meta/episodes.jsonl'), (text) => text.replace('"length": 5', '"length": 6'));
  const packed = copy(images);
  truncateSync(join(packed, 'data/chunk-000/file-000.parquet'), 40_000);
  const pointer = copy(av1);
  writeFileSync(join(pointer, file), 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n');
  for (const [path, number, words] of [
    [cut, 1, /expected a Parquet file that can be read, found .*\. Copy or download/],
    [missing, 1, /expected a readable file, found no such file/],
    [exchanged, 1, /expected 6 rows, as meta\/episodes\.jsonl says, found 5/],
    [relabelled, 0, /row 0: expected frame 0 of episode 0, found frame 0 of episode 1/],
    [packed, 0, /expected a Parquet file that can be read/],
    [pointer, 1, /Git LFS/],
  ] as const) {
    const error = await refusal(() => readAll(path, number));
    assert.is(error.code, 'DATASET_INVALID', error.message);
    assert.match(error.message, words);
  }
  assert.is(await readAll(join(recorded, images), 1), 6);
});

testWhen(
  'ffmpeg' in found,
  reason,
  test,
  'videos that are cut off, missing or of another length',
  async () => {
    const cut = copy(av1);
    truncateSync(join(cut, video), 1500);
    const missing = copy(av1);
    rmSync(join(missing, video));
    const short = copy(av1);
    cpSync(join(short, video.replace('000001', '000000')), join(short, video));
    const long = copy(av1);
    cpSync(join(long, video), join(long, video.replace('000001', '000000')));
    const packed = copy(h264);
    const shared = 'videos/observation.images.full_image/chunk-000/file-000.mp4';
    // episode 1 lies from 0.5 to 1.1 s; this file ends at 0.5 s
    cpSync(join(recorded, av1, video.replace('000001', '000000')), join(packed, shared));
    for (const [path, number, words] of [
      [cut, 1, /expected a video that decodes, found \(ffmpeg\) /],
      [missing, 1, /expected a readable file/],
      [short, 1, /expected a frame for each of the 6 rows of the episode, 10 a second, found 5 frames/],
      [long, 0, /each of the 5 rows of the episode, 10 a second, found 6 frames/],
      [packed, 1, /found 0 frames/],
    ] as const) {
      const error = await refusal(() => readAll(path, number));
      assert.is(error.code, 'DATASET_INVALID', error.message);
      assert.match(error.message, words);
    }
  },
);

test('a machine without ffmpeg says what to install, before a frame is asked of a policy', async () => {
  const before = process.env.SEMANTICVLA_FFMPEG;
  process.env.SEMANTICVLA_FFMPEG = '/nowhere/ffmpeg';
  try {
    const error = await refusal(() => readAll(join(recorded, av1), 0));
    assert.is(error.code, 'PACKAGE_UNAVAILABLE');
    assert.match(
      error.message,
      /expected the program ffmpeg.*`apt-get install -y ffmpeg`.*SEMANTICVLA_FFMPEG/,
    );
  } finally {
    if (before === undefined) delete process.env.SEMANTICVLA_FFMPEG;
    else process.env.SEMANTICVLA_FFMPEG = before;
  }
});

test('HDF5 files that are cut off or of another layout', async () => {
  const cut = copy('raw_demo.hdf5');
  truncateSync(cut, 20_000);
  const error = await refusal(() => openDataset(cut));
  assert.is(error.code, 'DATASET_INVALID');
  assert.match(
    error.message,
    /raw_demo\.hdf5: expected an HDF5 file that can be read, found: .*truncated file/,
  );
  // known by its content: another name does no harm
  const renamed = copy('raw_demo.hdf5');
  renameSync(renamed, `${renamed}.bin`);
  assert.is((await openDataset(`${renamed}.bin`)).format, 'LIBERO HDF5');
});

test('what is no recording at all', async () => {
  for (const path of [
    join(recorded, 'reference.json'),
    join(recorded, 'nowhere'),
    join(recorded, av1, 'data'),
  ]) {
    const error = await refusal(() => openDataset(path));
    assert.is(error.code, 'EPISODE_INVALID');
    assert.match(error.message, /expected a LeRobot dataset .*docs\/evaluate\.md/);
  }
});

test.run();
