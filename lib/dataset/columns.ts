/**
 * Maps the features of a dataset to the policy's inputs and the demonstrator's actions: documented, or asked for, but never
 * guessed.
 */

import { type ErrorCode, SemanticVlaError } from '../support/errors.ts';
import { turnedFrame } from '../transforms/imageFrame.ts';
import type { ImageFrame } from '../types.ts';
import type { Columns, Dataset, FeatureKeys, Features, GripperKind, Turn } from './dataset.ts';

/** The inputs and outputs of a policy. */
export interface PolicyNeeds {
  readonly cameras: readonly string[];
  /** 0: it takes no state; undefined: not known. */
  readonly stateSize?: number | undefined;
  readonly actionSize: number;
}

/** The caller's choice of features. */
export interface ColumnOptions {
  readonly keys?: FeatureKeys;
  readonly turn?: Turn;
  readonly gripper?: GripperKind | undefined;
}

const actionNames = ['action', 'actions'];
const stateNames = ['observation.state', 'state'];

/**
 * Decides which of a recording's features are the cameras, the state and the action that a policy needs: what the options name,
 * else what is called the same or is the only one that fits.
 *
 * @throws FEATURE_REQUIRED with the dataset's names if the choice is not clear; EPISODE_INVALID for actions of another width;
 *   CAMERA_UNKNOWN, CAMERA_DUPLICATE
 */
export function chooseColumns(dataset: Dataset, needs: PolicyNeeds, options: ColumnOptions): Columns {
  const { keys = {} } = options;
  const { features } = dataset;
  const unknown = Object.keys(keys.cameras ?? {}).find((camera) => !needs.cameras.includes(camera));
  if (unknown !== undefined) {
    throw new SemanticVlaError(
      'CAMERA_UNKNOWN',
      `Option keys.cameras: expected cameras of the policy (${needs.cameras.join(', ')}), found ${unknown}.`,
    );
  }
  const cameras = Object.fromEntries(
    needs.cameras.map((camera) => [camera, cameraOf(camera, dataset, needs, keys)]),
  );
  const used = Object.values(cameras);
  const twice = used.find((key, i) => used.indexOf(key) !== i);
  if (twice !== undefined) {
    throw new SemanticVlaError(
      'CAMERA_DUPLICATE',
      `${dataset.path}: expected another image for each camera (${needs.cameras.join(', ')}), found ${twice} twice. Pass the option keys.cameras.`,
    );
  }
  return {
    cameras,
    state: features === null || needs.stateSize === 0 ? [] : stateOf(dataset.path, features, needs, keys),
    action: features === null ? [] : actionOf(dataset.path, features, needs, keys),
    turn: options.turn ?? dataset.usual?.turn ?? 0,
    gripper: options.gripper ?? dataset.usual?.gripper ?? 'same',
  };
}

/** Short for `observation.images.top` or `obs/top`: `top`. */
const shortName = (name: string): string => name.split(/[./]/).at(-1)!;

function cameraOf(
  camera: string,
  { path, features }: Dataset,
  { cameras }: PolicyNeeds,
  keys: FeatureKeys,
): string {
  const given = keys.cameras?.[camera];
  if (features === null) return given ?? camera;
  const wanted = given ?? camera;
  const found = features.cameras.filter((name) => name === wanted);
  const near = found.length > 0 ? found : features.cameras.filter((name) => shortName(name) === wanted);
  if (near.length === 1) return near[0]!;
  if (given === undefined) {
    const usual = features.usual?.cameras[camera];
    if (usual !== undefined && features.cameras.includes(usual)) return usual;
    if (cameras.length === 1 && features.cameras.length === 1) return features.cameras[0]!;
  }
  throw required(
    path,
    given === undefined ? `an image called ${camera}, as the policy's camera is` : `the image ${given}`,
    features.cameras.join(', ') || 'no images',
    `Pass the option keys.cameras, e.g. ${camera}=${features.cameras[0] ?? 'NAME'}, for each camera of the policy (${cameras.join(', ')}).`,
  );
}

function stateOf(
  path: string,
  features: Features,
  { stateSize }: PolicyNeeds,
  { state }: FeatureKeys,
): readonly string[] {
  const fits = (names: readonly string[]): boolean =>
    names.length > 0 && (stateSize === undefined || widthOf(features, names) === stateSize);
  const given = state?.map((name) => vectorOf(path, features, name, 'state'));
  const usual = features.usual?.state ?? [];
  const candidates = given === undefined ? [usual, ...only(features, stateNames)] : [given];
  const found = candidates.find(fits);
  if (found !== undefined) return found;
  throw required(
    path,
    `a joint state of ${stateSize ?? 'some'} numbers, as the policy takes`,
    given === undefined
      ? vectorsInWords(features)
      : `${widthOf(features, given)} in ${given.join(', ')}; there are ${vectorsInWords(features)}`,
    'Pass the option keys.state with one of them, or several with commas between.',
  );
}

function actionOf(
  path: string,
  features: Features,
  { actionSize }: PolicyNeeds,
  { action }: FeatureKeys,
): readonly string[] {
  const found =
    action?.map((name) => vectorOf(path, features, name, 'action')) ?? only(features, actionNames)[0];
  if (found === undefined) {
    throw required(
      path,
      `actions of ${actionSize} numbers called ${actionNames.join(' or ')}`,
      vectorsInWords(features),
      'Pass the option keys.action with one of them, or several with commas between.',
    );
  }
  const width = widthOf(features, found);
  if (width === actionSize) return found;
  throw required(
    path,
    `actions of ${actionSize} dimensions, as the policy's are`,
    `${width} in ${found.join(', ')}; there are ${vectorsInWords(features)}`,
    'Give episodes of the robot that the policy was trained for, or pass the option keys.action.',
    'EPISODE_INVALID',
  );
}

/** The names among `names` that the dataset contains, each on its own. */
const only = ({ vectors }: Features, names: readonly string[]): string[][] =>
  names.filter((name) => Object.hasOwn(vectors, name)).map((name) => [name]);

function vectorOf(path: string, features: Features, wanted: string, what: string): string {
  const names = Object.keys(features.vectors);
  const near = names.includes(wanted) ? [wanted] : names.filter((name) => shortName(name) === wanted);
  if (near.length === 1) return near[0]!;
  throw required(
    path,
    `the numbers ${wanted}`,
    vectorsInWords(features),
    `Pass the option keys.${what} with names of these.`,
  );
}

const widthOf = ({ vectors }: Features, names: readonly string[]): number =>
  names.reduce((sum, name) => sum + vectors[name]!, 0);

const vectorsInWords = ({ vectors }: Features): string =>
  Object.entries(vectors)
    .map(([name, width]) => `${name} (${width})`)
    .join(', ') || 'no numbers';

function required(
  path: string,
  expected: string,
  found: string,
  next: string,
  code: ErrorCode = 'FEATURE_REQUIRED',
): SemanticVlaError {
  return new SemanticVlaError(code, `${path}: expected ${expected}, found ${found}. ${next}`);
}

/** Turns the frame by 180 degrees: reverses its pixels. */
export function turned(frame: ImageFrame, turn: Turn): ImageFrame {
  return turn === 0 ? frame : turnedFrame(frame);
}

/**
 * Converts, in place, -1 (open) to 1 (closed), as in LIBERO's simulator, to 0 (closed) to 1 (open), as in its training data.
 */
export function convertGripper(actions: Float64Array, width: number, gripper: GripperKind): Float64Array {
  if (gripper === 'same') return actions;
  for (let i = width - 1; i < actions.length; i += width)
    actions[i] = 1 - Math.min(1, Math.max(0, actions[i]!));
  return actions;
}
