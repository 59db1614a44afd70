/**
 * The messages between supervisor and engine process. A message is JSON with a list of arrays beside it; how the arrays travel
 * is up to the transport (engineLink.ts).
 */

import type { PolicyFacts } from '../support/policyFacts.ts';
import type { ActionChunk, ImageFrame, Observation, PredictOptions, StageTensor } from '../types.ts';

/** Arrays that can be sent. */
export type WireArray = Uint8Array | Int32Array | Float32Array | Float64Array;

/** Where the engine comes from: a checkpoint, or a module that exports `createPolicy(options): Policy | Promise<Policy>`. */
export type EngineSource =
  | { readonly checkpoint: string; readonly options?: EngineJson }
  | { readonly module: string; readonly options?: EngineJson };

/** Options are sent as JSON: no functions and no signals. */
export type EngineJson = Readonly<Record<string, unknown>>;

/** The facts of a policy, known before it predicts. */
export type EngineFacts = PolicyFacts;

export interface WireError {
  /** null if the engine threw something other than a SemanticVlaError. */
  readonly code: string | null;
  readonly message: string;
}

export type ToEngine =
  | { readonly kind: 'start'; readonly source: EngineSource; readonly beatMs: number }
  | {
      readonly kind: 'predict' | 'stages';
      readonly id: number;
      readonly observation: WireObservation;
      readonly options: Omit<PredictOptions, 'signal'>;
    }
  | { readonly kind: 'abort'; readonly id: number }
  | { readonly kind: 'close' };

export type FromEngine =
  | { readonly kind: 'ready'; readonly facts: EngineFacts }
  | { readonly kind: 'refused'; readonly error: WireError }
  | { readonly kind: 'beat' }
  | { readonly kind: 'chunk'; readonly id: number; readonly chunk: WireChunk; readonly ms: number }
  | { readonly kind: 'stages'; readonly id: number; readonly stages: WireStages }
  | { readonly kind: 'error'; readonly id: number; readonly error: WireError };

/** An array is represented by its index in the list that travels with the message. */
type Place = number;

export interface WireObservation {
  readonly images: readonly (Omit<ImageFrame, 'data'> & { readonly name: string; readonly data: Place })[];
  readonly state: Place | null;
}

export interface WireChunk
  extends Omit<ActionChunk, 'actions' | 'normalized' | 'keptPatches' | 'similarity'> {
  readonly actions: Place;
  readonly normalized: Place;
  readonly keptPatches: Readonly<Record<string, Place>>;
  readonly similarity: Readonly<Record<string, Place>>;
}

export type WireStages = readonly (Omit<StageTensor, 'data'> & {
  readonly name: string;
  readonly data: Place;
})[];

/** Appends to a message's arrays and returns the index. */
function placer(arrays: WireArray[]): (array: WireArray) => Place {
  return (array) => arrays.push(array) - 1;
}

function taker(arrays: readonly WireArray[]): <T extends WireArray>(place: Place) => T {
  return <T extends WireArray>(place: Place) => arrays[place] as T;
}

/** Only the images of `cameras`, since the engine reads no others. Frames and state have already been checked. */
export function packObservation(
  observation: Observation,
  cameras: readonly string[],
  arrays: WireArray[],
): WireObservation {
  const place = placer(arrays);
  const images = cameras
    .filter((name) => Object.hasOwn(observation.images, name) && observation.images[name] !== undefined)
    .map((name) => {
      const { data, ...rest } = observation.images[name]!;
      return { ...rest, name, data: place(data) };
    });
  const { state } = observation;
  return { images, state: state === undefined ? null : place(Float64Array.from(state)) };
}

export function unpackObservation(wire: WireObservation, arrays: readonly WireArray[]): Observation {
  const take = taker(arrays);
  const images = Object.fromEntries(
    wire.images.map(({ name, data, ...rest }) => [name, { ...rest, data: take<Uint8Array>(data) }]),
  );
  return wire.state === null ? { images } : { images, state: take<Float64Array>(wire.state) };
}

export function packChunk(chunk: ActionChunk, arrays: WireArray[]): WireChunk {
  const place = placer(arrays);
  const each = (record: Readonly<Record<string, WireArray>>) =>
    Object.fromEntries(Object.entries(record).map(([name, array]) => [name, place(array)]));
  return {
    ...chunk,
    actions: place(chunk.actions),
    normalized: place(chunk.normalized),
    keptPatches: each(chunk.keptPatches),
    similarity: each(chunk.similarity),
  };
}

export function unpackChunk(wire: WireChunk, arrays: readonly WireArray[]): ActionChunk {
  const take = taker(arrays);
  const each = <T extends WireArray>(record: Readonly<Record<string, Place>>) =>
    Object.fromEntries(Object.entries(record).map(([name, place]) => [name, take<T>(place)]));
  return {
    ...wire,
    actions: take(wire.actions),
    normalized: take(wire.normalized),
    keptPatches: each<Int32Array>(wire.keptPatches),
    similarity: each<Float32Array>(wire.similarity),
  };
}

export function packStages(stages: ReadonlyMap<string, StageTensor>, arrays: WireArray[]): WireStages {
  const place = placer(arrays);
  return [...stages].map(([name, { data, ...rest }]) => ({ ...rest, name, data: place(data) }));
}

export function unpackStages(wire: WireStages, arrays: readonly WireArray[]): Map<string, StageTensor> {
  const take = taker(arrays);
  return new Map(wire.map(({ name, data, ...rest }) => [name, { ...rest, data: take(data) }]));
}
