/** Messages from the engine's process are not trusted: an invalid one ends the engine, and never leaves a call hanging. */

import { checkedChunk } from '../support/checkedChunk.ts';
import { type ErrorCode, SemanticVlaError } from '../support/errors.ts';
import { policyFacts } from '../support/policyFacts.ts';
import type { ActionChunk, StageTensor } from '../types.ts';
import { checkedStages } from './checkedStages.ts';
import {
  type EngineFacts,
  type FromEngine,
  unpackChunk,
  unpackStages,
  type WireArray,
  type WireChunk,
  type WireStages,
} from './engineMessages.ts';

/** The answer to a call. */
export type EngineAnswer =
  | { readonly kind: 'chunk'; readonly chunk: ActionChunk; readonly ms: number }
  | { readonly kind: 'stages'; readonly stages: Map<string, StageTensor> }
  | { readonly kind: 'error'; readonly error: SemanticVlaError };

export type EngineHeard =
  | EngineAnswer
  | { readonly kind: 'ready'; readonly facts: EngineFacts }
  | { readonly kind: 'refused'; readonly error: SemanticVlaError }
  | { readonly kind: 'beat' };

/** What the engine may send now: before it is ready, during a call, or otherwise. */
export interface Expecting {
  readonly facts: EngineFacts | null;
  readonly call: { readonly id: number; readonly kind: 'predict' | 'stages' } | null;
}

type Loose = { readonly [name: string]: unknown };

/**
 * @param message any JSON value
 * @throws (any error) if it is not a message, or not one that may come now: an answer to another call or of another kind, not a
 *   chunk, an error without a text
 */
export function readMessage(
  message: unknown,
  arrays: readonly WireArray[],
  { facts, call }: Expecting,
): EngineHeard {
  const { kind, id, ...rest } = object(message, 'a message');
  switch (kind as FromEngine['kind']) {
    case 'beat':
      return { kind: 'beat' };
    case 'ready':
      if (facts !== null) throw new Error('it was ready before');
      return { kind: 'ready', facts: policyFacts(rest.facts, 'the engine') };
    case 'refused':
      if (facts !== null) throw new Error('it refuses to start after it was ready');
      return { kind: 'refused', error: readError(rest.error) };
    case 'chunk':
    case 'stages':
    case 'error':
      break;
    default:
      throw new Error(`a message of kind ${name(kind)}`);
  }
  if (call === null || facts === null) throw new Error(`an answer (${name(kind)}) that nobody waits for`);
  if (id !== call.id) throw new Error(`an answer to call ${name(id)} in call ${call.id}`);
  if (kind === 'error') return { kind, error: readError(rest.error) };
  if ((kind === 'stages') !== (call.kind === 'stages'))
    throw new Error(`an answer of kind ${name(kind)} to ${call.kind}`);
  if (kind === 'stages')
    return { kind, stages: checkedStages(unpackStages(list(rest.stages) as WireStages, arrays)) };
  const { ms } = rest;
  if (typeof ms !== 'number' || !(ms >= 0)) throw new Error(`${name(ms)} in the place of milliseconds`);
  const chunk = unpackChunk(object(rest.chunk, 'a chunk') as unknown as WireChunk, arrays);
  return { kind: 'chunk', chunk: checkedChunk(chunk, facts), ms };
}

/** The engine's error as thrown in its own process; anything but a SemanticVlaError becomes RUNTIME_FAILED. */
function readError(error: unknown): SemanticVlaError {
  const { code, message } = object(error, 'an error');
  if ((code !== null && typeof code !== 'string') || typeof message !== 'string')
    throw new Error('an error without code and text');
  return new SemanticVlaError((code ?? 'RUNTIME_FAILED') as ErrorCode, message);
}

function object(value: unknown, what: string): Loose {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Loose;
  throw new Error(`${name(value)} in the place of ${what}`);
}

function list(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new Error(`${name(value)} in the place of a list`);
}

/** A value for messages, shortened. */
function name(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 60);
}
