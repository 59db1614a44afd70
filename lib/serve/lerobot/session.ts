/**
 * What one connection of LeRobot's robot client has told: its features, and its newest observation. One that is not predicted yet
 * gives way to a newer one, and one whose timestep was predicted is passed over unless it "must go", as in lerobot's own server.
 */

import { whenAborted } from '../../support/abort.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import type { Policy } from '../../types.ts';
import type { Body } from '../bodyPool.ts';
import { invalidRequest, NdArray, type WireValue } from '../ndarray.ts';
import { type ObservationKeys, requestKeys } from '../observationMap.ts';
import { type WireFields, wireFields } from '../wireFields.ts';
import { type PickleDict, type PickleValue, readPickle, settled } from './pickle.ts';

const statePrefix = 'observation.state';
const imagePrefix = 'observation.images.';

export interface TimedObservation {
  readonly fields: WireFields;
  readonly timestamp: number;
  readonly timestep: number;
  readonly mustGo: boolean;
}

/** From RemotePolicyConfig. */
export class RobotFeatures {
  /** Names of the joints in the order of the state. */
  readonly #joints: readonly string[];
  /** By the name that a request asks for: the name of the robot's camera. */
  readonly #renamed = new Map<string, string>();
  /** Rows of a chunk that the client takes. */
  readonly rows: number;

  /**
   * @throws REQUEST_INVALID, CAMERA_MISSING, STATE_INVALID if no observation of this robot could be one of the policy
   */
  constructor(pickle: Buffer, policy: Policy, keys: ObservationKeys) {
    const config = readPickle(pickle, 'RemotePolicyConfig');
    const rows = config.get('actions_per_chunk');
    if (!Number.isInteger(rows) || (rows as number) < 1)
      throw invalidRequest('actions_per_chunk to be a whole number from 1 on', 'another value');
    this.rows = rows as number;
    const features = config.get('lerobot_features');
    if (!(features instanceof Map)) throw invalidRequest('lerobot_features to be a dict', 'another value');
    const state = features.get(statePrefix);
    const names = state instanceof Map ? state.get('names') : [];
    if (!Array.isArray(names) || !names.every((name) => typeof name === 'string'))
      throw invalidRequest(`names of ${statePrefix} to be texts`, 'others');
    this.#joints = names;
    const renames = config.get('rename_map');
    for (const [from, to] of renames instanceof Map ? renames : []) {
      if (typeof to !== 'string') throw invalidRequest('rename_map to hold texts', 'another value');
      this.#renamed.set(withoutPrefix(to), withoutPrefix(from));
    }
    const cameras = [...features.keys()]
      .filter((name) => name.startsWith(imagePrefix))
      .map((name) => withoutPrefix(name));
    this.#check(policy, keys, cameras);
  }

  #check(policy: Policy, keys: ObservationKeys, cameras: readonly string[]): void {
    for (const { name, key } of requestKeys(policy, keys).cameras) {
      const camera = this.#renamed.get(key) ?? key;
      if (cameras.includes(camera)) continue;
      throw new SemanticVlaError(
        'CAMERA_MISSING',
        `Camera ${name}: expected ${camera} among the robot's cameras, found ${cameras.join(', ') || 'none'}. ` +
          `Name the robot's camera so, or serve with --camera ${name}=NAME (keys.cameras).`,
      );
    }
    const { stateSize, platform } = policy;
    const count = this.#joints.length;
    if (!platform.proprio || keys.state !== undefined || stateSize === undefined || count === stateSize)
      return;
    throw new SemanticVlaError(
      'STATE_INVALID',
      `Expected a robot with a state of ${stateSize} numbers, as in training, found ${count}: ${this.#joints.join(', ') || 'none'}.`,
    );
  }

  /** @throws REQUEST_INVALID, STATE_INVALID */
  read(pickle: Buffer): TimedObservation {
    const timed = readPickle(pickle, 'TimedObservation');
    const observation = timed.get('observation');
    if (!(observation instanceof Map)) throw invalidRequest('an observation that is a dict', 'another value');
    const [timestamp, timestep] = [timed.get('timestamp'), timed.get('timestep')];
    if (typeof timestamp !== 'number' || !Number.isFinite(timestamp))
      throw invalidRequest('timestamp to be a finite number', 'another value');
    if (!Number.isInteger(timestep) || (timestep as number) < 0 || (timestep as number) > mostTimestep)
      throw invalidRequest(`timestep to be a whole number up to ${mostTimestep}`, 'another value');
    return {
      fields: this.#fields(observation),
      timestamp,
      timestep: timestep as number,
      mustGo: timed.get('must_go') === true,
    };
  }

  /** The robot's own names; besides, its joints as `state`, its task as `instruction`, and what rename_map names. */
  #fields(observation: PickleDict): WireFields {
    const fields = new Map<string, WireValue>();
    for (const [name, value] of observation) {
      const wire = wireValue(settled(value));
      if (wire !== undefined) fields.set(name, wire);
    }
    for (const [to, from] of this.#renamed) {
      const value = fields.get(from);
      if (value !== undefined) fields.set(to, value);
    }
    const task = fields.get('task');
    if (task !== undefined && !fields.has('instruction')) fields.set('instruction', task);
    if (this.#joints.length > 0 && !fields.has('state')) fields.set('state', this.#state(fields));
    return wireFields(fields, { inside: () => null, decode: (value) => value });
  }

  #state(fields: ReadonlyMap<string, WireValue>): number[] {
    return this.#joints.map((name) => {
      const value = fields.get(name);
      if (typeof value === 'number') return value;
      throw new SemanticVlaError(
        'STATE_INVALID',
        `Joint ${name.slice(0, 80)}: expected a number, found ${value === undefined ? 'none' : 'another value'}.`,
      );
    });
  }
}

/** Timesteps of an answer are int32, and a chunk's rows follow its observation's. */
const mostTimestep = 2 ** 31 - 2 ** 16;

function withoutPrefix(name: string): string {
  return name.startsWith(imagePrefix) ? name.slice(imagePrefix.length) : name;
}

/** Undefined: nothing that an observation could have, so that a robot may send more than the policy reads. */
function wireValue(value: PickleValue | undefined): WireValue | undefined {
  if (value instanceof NdArray) return value.shape.length === 0 ? value.numbers()[0] : value;
  if (Array.isArray(value))
    return value.every((item) => typeof item === 'number') ? (value as number[]) : undefined;
  return typeof value === 'number' || typeof value === 'string' ? value : undefined;
}

/** The newest observation of a connection, until it is predicted. */
export class LatestObservation {
  #held: { readonly body: Body; readonly observation: TimedObservation } | null = null;
  #predicted = -1;
  #wake: (() => void) | null = null;

  /** Takes over the body, whose bytes the observation's arrays are. */
  offer(body: Body, observation: TimedObservation): void {
    if (observation.timestep <= this.#predicted && !observation.mustGo) {
      body.release();
      return;
    }
    this.#held?.body.release();
    this.#held = { body, observation };
    this.#wake?.();
  }

  /** @returns null if there is none within `ms`, or a signal was aborted; the body is the caller's then */
  async take(
    ms: number,
    signals: readonly AbortSignal[],
  ): Promise<{ body: Body; observation: TimedObservation } | null> {
    const isAborted = (): boolean => signals.some(({ aborted }) => aborted);
    if (this.#held === null && !isAborted()) {
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          for (const stop of stops) stop();
          resolve();
        };
        const timer = setTimeout(wake, ms);
        const stops = signals.map((signal) => whenAborted(signal, wake));
        this.#wake = wake;
      });
      this.#wake = null;
    }
    const held = isAborted() ? null : this.#held;
    if (held !== null) this.#held = null;
    return held;
  }

  predicted(timestep: number): void {
    this.#predicted = Math.max(this.#predicted, timestep);
  }

  /** Others need the memory. */
  drop(body: Body): void {
    if (this.#held?.body === body) this.clear();
  }

  clear(): void {
    this.#held?.body.release();
    this.#held = null;
  }
}
