/**
 * HDF5 files of demonstrations as LIBERO, OpenVLA's regenerated "no-noops" files and robomimic have them: `data/demo_0/actions`,
 * `data/demo_0/obs/agentview_rgb`, ... Where LIBERO's own files differ, that is said at the code.
 */

import { readdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { SemanticVlaError } from '../../support/errors.ts';
import { isFolder, reason } from '../../support/fileAccess.ts';
import { frameOfArray } from '../../transforms/imageFrame.ts';
import type { ImageFrame } from '../../types.ts';
import { convertGripper, turned } from '../columns.ts';
import type { Columns, Dataset, Episode, Features, RecordedObservation } from '../dataset.ts';
import { joinRows } from '../numbers.ts';
import { checkH5wasm, Hdf5File, isHdf5 } from './hdf5File.ts';

/** LIBERO's two cameras, by the names that its policies have. */
const liberoCameras = { full_image: 'obs/agentview_rgb', wrist_image: 'obs/eye_in_hand_rgb' };
/** Position and axis-angle of the hand, then both fingers: the state of OpenVLA's training data. */
const liberoState = ['obs/ee_states', 'obs/gripper_states'];
/** Steps per second of LIBERO's controller. */
const liberoRate = 20;

interface Demo {
  readonly file: string;
  /** `data/demo_0` */
  readonly group: string;
}

/** What a file says of all its demonstrations. */
interface FileFacts {
  readonly instruction: string | null;
  readonly rate: number;
  /** Row i of the observations was seen after action i, not before. */
  readonly isAfter: boolean;
}

/**
 * @param path an HDF5 file, or a folder of such
 * @returns null: it holds none
 * @throws (rejects) DATASET_INVALID, DATASET_UNSUPPORTED, PACKAGE_UNAVAILABLE
 */
export async function openLiberoFiles(path: string): Promise<Dataset | null> {
  const files = await hdf5Files(path);
  if (files.length === 0) return null;
  checkH5wasm(path);
  const demos: Demo[] = [];
  const facts = new Map<string, FileFacts>();
  let features: Features | null = null;
  for (const file of files) {
    const opened = await Hdf5File.open(file);
    try {
      const groups = demosIn(opened);
      facts.set(file, factsOf(opened));
      features ??= featuresOf(opened, groups[0]!);
      demos.push(...groups.map((group) => ({ file, group })));
    } finally {
      opened.close();
    }
  }
  const isLibero = features!.usual !== undefined;
  const isAfter = [...facts.values()].some((one) => one.isAfter);
  return {
    format: isLibero ? 'LIBERO HDF5' : 'robomimic HDF5',
    path,
    name: basename(resolve((await isFolder(path)) ? path : dirname(path))),
    numbers: [...demos.keys()],
    features,
    ...(isLibero ? { usual: { turn: 180, gripper: 'libero' } as const } : {}),
    notes: isAfter
      ? ["LIBERO's own files hold what was seen after the action of each row: it is taken for the next row"]
      : [],
    open: (number, columns) => openDemo(demos[number]!, facts.get(demos[number]!.file)!, columns),
  };
}

async function hdf5Files(path: string): Promise<string[]> {
  if (!(await isFolder(path))) return (await isHdf5(path)) ? [path] : [];
  const names = await readdir(path).catch((cause: unknown) => {
    throw new SemanticVlaError(
      'DATASET_INVALID',
      `${path}: expected a folder that can be read, found ${reason(cause)}.`,
      { cause },
    );
  });
  const files: string[] = [];
  for (const file of names.sort().map((name) => join(path, name))) if (await isHdf5(file)) files.push(file);
  return files;
}

/** In the order of their numbers: demo_2 before demo_10. */
function demosIn(file: Hdf5File): string[] {
  const names = (file.names('data') ?? []).filter((name) => file.shape(`data/${name}/actions`) !== null);
  if (names.length === 0) {
    throw new SemanticVlaError(
      'DATASET_INVALID',
      `${file.path}: expected demonstrations with data/demo_0/actions, found ${file.names('data')?.slice(0, 8).join(', ') || 'no group data'}. ` +
        'Give files in the layout of LIBERO or robomimic.',
    );
  }
  return names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).map((name) => `data/${name}`);
}

function featuresOf(file: Hdf5File, group: string): Features {
  const cameras: string[] = [];
  const vectors: Record<string, number> = {};
  for (const name of ['actions', ...(file.names(`${group}/obs`) ?? []).map((one) => `obs/${one}`)]) {
    const found = file.shape(`${group}/${name}`);
    if (found === null) continue;
    const { shape, isBytes } = found;
    if (shape.length === 4 && isBytes) cameras.push(name);
    else if (shape.length === 1 || shape.length === 2) vectors[name] = shape[1] ?? 1;
  }
  const isLibero = Object.values(liberoCameras).every((name) => cameras.includes(name));
  const state = liberoState.every((name) => Object.hasOwn(vectors, name)) ? liberoState : [];
  return { cameras, vectors, ...(isLibero ? { usual: { cameras: liberoCameras, state } } : {}) };
}

function factsOf(file: Hdf5File): FileFacts {
  // written by LIBERO's scripts/create_dataset.py, which appends each observation after env.step
  const convention = file.attribute('data', 'macros_image_convention');
  if (convention !== undefined && convention !== 'opengl') {
    throw new SemanticVlaError(
      'DATASET_UNSUPPORTED',
      `${file.path}: expected frames as robosuite renders them (macros_image_convention opengl), found ${String(convention)}. Record the file again with that convention.`,
    );
  }
  return {
    instruction: sentenceOf(file),
    rate: controlRate(file) ?? liberoRate,
    isAfter: convention !== undefined,
  };
}

/** A sentence, or its characters in a list; OpenVLA's regenerated files have none but in their names. */
function sentenceOf(file: Hdf5File): string | null {
  const { language_instruction: said } = jsonAttribute(file, 'problem_info');
  const sentence = Array.isArray(said) ? said.join('') : said;
  if (typeof sentence === 'string' && sentence !== '') return sentence.replace(/^"|"$/g, '');
  const words = /^(?:.*SCENE\d*_)?(.+)_demo\.(?:hdf5|h5)$/.exec(basename(file.path))?.[1];
  return words?.replaceAll('_', ' ') ?? null;
}

function controlRate(file: Hdf5File): number | null {
  const { env_kwargs: settings } = jsonAttribute(file, 'env_args');
  const rate = (settings as { readonly control_freq?: unknown } | undefined)?.control_freq;
  return typeof rate === 'number' && rate > 0 && Number.isFinite(rate) ? rate : null;
}

/** An attribute of `data` that holds a JSON object; {} where it does not. */
function jsonAttribute(file: Hdf5File, name: string): Readonly<Record<string, unknown>> {
  const text = file.attribute('data', name);
  if (typeof text !== 'string') return {};
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

async function openDemo({ file, group }: Demo, facts: FileFacts, columns: Columns): Promise<Episode> {
  const source = `${file}, ${group}`;
  const opened = await Hdf5File.open(file);
  try {
    const length = opened.shape(`${group}/actions`)!.shape[0]!;
    const read = (names: readonly string[]) => {
      const parts = names.map((name) => [name, rowsOf(opened, `${group}/${name}`, length)] as const);
      const rows = Array.from({ length }, (_, step) =>
        Object.fromEntries(parts.map(([name, part]) => [name, part[step]])),
      );
      return joinRows(rows, names, source);
    };
    const actions = read(columns.action);
    const states = columns.state.length === 0 ? null : read(columns.state);
    for (const name of Object.values(columns.cameras)) requireRows(opened, `${group}/${name}`, length);
    const shift = facts.isAfter ? 1 : 0;
    const steps = Array.from({ length: length - shift }, (_, i) => i + shift);
    if (steps.length === 0) {
      throw new SemanticVlaError(
        'EPISODE_INVALID',
        `${source}: expected at least ${1 + shift} steps, found ${length}. Leave it out with the option episodes.`,
      );
    }
    return {
      name: `${basename(file)} ${basename(group)}`,
      source,
      ...(facts.instruction === null ? {} : { instruction: facts.instruction }),
      rate: facts.rate,
      actions: convertGripper(actions.values, actions.width, columns.gripper),
      shape: [length, actions.width],
      steps,
      async *observations(wanted, signal): AsyncGenerator<RecordedObservation> {
        const frames = await Hdf5File.open(file);
        try {
          for (const step of wanted) {
            signal?.throwIfAborted();
            const row = step - shift;
            const images = Object.entries(columns.cameras).map(([camera, name]) => [
              camera,
              turned(frameAt(frames, `${group}/${name}`, row), columns.turn),
            ]);
            const state = states?.values.subarray(row * states.width, (row + 1) * states.width);
            yield {
              step,
              observation: { images: Object.fromEntries(images), ...(state === undefined ? {} : { state }) },
            };
          }
        } finally {
          frames.close();
        }
      },
    };
  } finally {
    opened.close();
  }
}

/** @throws DATASET_INVALID */
function requireRows(file: Hdf5File, path: string, length: number): readonly number[] {
  const shape = file.shape(path)?.shape;
  if (shape !== undefined && shape[0] === length) return shape;
  throw new SemanticVlaError(
    'DATASET_INVALID',
    `${file.path}: ${path}: expected ${length} rows, as there are actions, found ${shape === undefined ? 'no such dataset' : shape[0]}. ` +
      'Leave this episode out with the option episodes, or record it again.',
  );
}

/** Lists of numbers by row. */
function rowsOf(file: Hdf5File, path: string, length: number): readonly ArrayLike<number | bigint>[] {
  const shape = requireRows(file, path, length);
  const width = shape.slice(1).reduce((product, size) => product * size, 1);
  const values = Array.from(file.rows(path, 0, length));
  return Array.from({ length }, (_, row) => values.slice(row * width, (row + 1) * width));
}

function frameAt(file: Hdf5File, path: string, row: number): ImageFrame {
  const { shape } = file.shape(path)!;
  const data = file.rows(path, row, row + 1);
  const name = `${file.path}, ${path}, row ${row}`;
  return frameOfArray({ dtype: '|u1', shape: shape.slice(1), data: data as Uint8Array }, name);
}
