/**
 * An observation folder: `observation.json` with `{"instruction": "...", "state": [...], "images": {"full_image":
 * "full_image.png"}}`, and the image files beside it. `instruction` and `state` may be left out; `state` may name a
 * .npy file instead.
 */

import { dirname, isAbsolute, join, normalize, sep } from 'node:path';
import { readJsonFile } from '../checkpoint/jsonFile.ts';
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from '../checkpoint/strictJson.ts';
import { type ErrorCode, SemanticVlaError } from '../support/errors.ts';
import { isThere, readRegular } from '../support/fileAccess.ts';
import { nearest } from '../support/options.ts';
import type { ImageFrame, Observation } from '../types.ts';
import { readImageFile } from './imageFile.ts';
import { npyNumbers, parseNpy } from './npy.ts';

/** An observation and, if its folder contains one, the instruction. */
export interface FolderObservation {
  /** Images are in the order of the keys in the file. */
  readonly observation: Observation;
  /** Absent if the folder has none. */
  readonly instruction?: string;
}

const fileName = 'observation.json';
const knownKeys = ['instruction', 'state', 'images'];
/** Enough for a state of a few numbers, a few file names and a sentence. */
const maxJsonBytes = 1 << 20;
/** The same for many observations. */
const maxListBytes = 1 << 26;
const maxStateBytes = 1 << 20;
/** Far more cameras than a policy takes; a longer list is not an observation. */
const maxImages = 16;

/**
 * Reads an observation folder: `observation.json` and the images beside it.
 *
 * @param folder that holds observation.json
 * @throws OBSERVATION_INVALID, STATE_INVALID, INSTRUCTION_INVALID, and those of `readImageFile`
 */
export async function readObservation(folder: string): Promise<FolderObservation> {
  const file = join(folder, fileName);
  return fromJson(await readJson(file, maxJsonBytes), folder, file);
}

/**
 * Reads many observations from one file, `{"observations": [...]}`, each an object as in observation.json with its images beside
 * the file.
 *
 * @throws as readObservation
 */
export async function readObservations(file: string): Promise<FolderObservation[]> {
  const { observations } = await readJson(file, maxListBytes);
  if (observations === undefined || !isJsonArray(observations))
    throw invalid(file, '"observations" to be a list', describe(observations));
  const read: FolderObservation[] = [];
  for (const [i, json] of observations.entries()) {
    const place = `${file}, observation ${i}`;
    if (!isJsonObject(json)) throw invalid(place, 'an object with "images"', describe(json));
    read.push(await fromJson(json, dirname(file), place));
  }
  return read;
}

async function fromJson(json: JsonObject, folder: string, file: string): Promise<FolderObservation> {
  for (const key of Object.keys(json)) {
    const meant = knownKeys.includes(key) ? null : nearest(key, knownKeys);
    // Other keys are the recorder's notes, but a misspelled one would silently be lost.
    if (meant !== null && !Object.hasOwn(json, meant)) throw invalid(file, `the key "${meant}"`, `"${key}"`);
  }
  const images = await readImages(json.images, folder, file);
  const state = await readState(json.state, folder, file);
  const observation = state === undefined ? { images } : { images, state };
  const { instruction } = json;
  if (instruction === undefined || instruction === null) return { observation };
  if (typeof instruction !== 'string') {
    throw invalid(file, '"instruction" to be a text', describe(instruction), 'INSTRUCTION_INVALID');
  }
  return { observation, instruction };
}

async function readJson(file: string, cap: number): Promise<JsonObject> {
  if (!(await isThere(file, 'OBSERVATION_INVALID')))
    throw invalid(file, 'a readable file', 'none; an observation is a folder with that file');
  const json = await readJsonFile(file, { missing: 'OBSERVATION_INVALID', cap });
  if (!isJsonObject(json)) throw invalid(file, 'an object with "images"', describe(json));
  return json;
}

async function readImages(
  images: JsonValue | undefined,
  folder: string,
  file: string,
): Promise<Readonly<Record<string, ImageFrame>>> {
  if (!isJsonObject(images)) {
    throw invalid(file, '"images" to be an object of camera name and file', describe(images));
  }
  const entries = Object.entries(images);
  if (entries.length === 0 || entries.length > maxImages) {
    throw invalid(file, `1 to ${maxImages} images`, String(entries.length));
  }
  const frames = entries.map(async ([camera, path]) => {
    // JavaScript sorts integer keys before all others, but the order of the cameras is part of the input.
    if (camera === '' || /^\d+$/.test(camera)) {
      throw invalid(file, 'camera names that are words', `"${camera}"`);
    }
    return [camera, await readImageFile(inside(path, folder, `image "${camera}"`, file))] as const;
  });
  // fromEntries defines keys instead of assigning them, so a camera named __proto__ is just a key.
  return Object.fromEntries(await Promise.all(frames));
}

async function readState(
  state: JsonValue | undefined,
  folder: string,
  file: string,
): Promise<Float64Array | undefined> {
  if (state === undefined || state === null) return undefined;
  const numbers =
    typeof state === 'string' ? await readStateFile(state, folder, file) : stateNumbers(state, file);
  const wrong = numbers.findIndex((number) => !Number.isFinite(number));
  if (wrong >= 0) {
    throw invalid(file, 'finite numbers in "state"', `${numbers[wrong]} at index ${wrong}`, 'STATE_INVALID');
  }
  return numbers;
}

function stateNumbers(state: JsonValue, file: string): Float64Array {
  if (!isJsonArray(state) || state.length === 0 || state.some((value) => typeof value !== 'number')) {
    throw invalid(
      file,
      '"state" to be a list of numbers or the name of a .npy file',
      describe(state),
      'STATE_INVALID',
    );
  }
  return Float64Array.from(state as readonly number[]);
}

async function readStateFile(name: string, folder: string, file: string): Promise<Float64Array> {
  if (!name.toLowerCase().endsWith('.npy')) {
    throw invalid(
      file,
      '"state" to be a list of numbers or the name of a .npy file',
      `"${name}"`,
      'STATE_INVALID',
    );
  }
  const path = inside(name, folder, '"state"', file);
  const bytes = await readRegular(path, { missing: 'STATE_INVALID', cap: maxStateBytes });
  const array = parseNpy(bytes, path);
  // A batch of one is often saved as [1, n].
  if (
    array.data.length === 0 ||
    !(array.shape.length === 1 || (array.shape.length === 2 && array.shape[0] === 1))
  ) {
    throw invalid(path, 'a joint state of shape (n,)', `(${array.shape.join(', ')})`, 'STATE_INVALID');
  }
  return npyNumbers(array);
}

/**
 * A path that, as written, stays inside the folder. Symbolic links are followed: whoever can make one could read the target
 * anyway.
 */
function inside(path: JsonValue, folder: string, what: string, file: string): string {
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw invalid(file, `${what} to be a file name`, describe(path));
  }
  const plain = normalize(path);
  if (isAbsolute(plain) || plain === '..' || plain.startsWith(`..${sep}`)) {
    throw invalid(file, `${what} to be a file inside the observation's folder`, `"${path}"`);
  }
  return join(folder, plain);
}

function describe(value: JsonValue | undefined): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function invalid(
  file: string,
  expected: string,
  found: string,
  code: ErrorCode = 'OBSERVATION_INVALID',
): SemanticVlaError {
  return new SemanticVlaError(code, `${file}: expected ${expected}, found ${found}.`);
}
