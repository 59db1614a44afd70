/**
 * Runs the engine in a process of its own: a crash, a hang or a device error that cannot be cured within a process costs one
 * prediction, not the robot's controller. This process loads no model, no addon and no CUDA; it can always say HOLD.
 *
 * A supervised policy is used like any other. While its engine is down, every call is refused at once, so that the loop above
 * holds within the same tick; another engine is started with back-off.
 */

import { whenAborted } from '../support/abort.ts';
import { isolated } from '../support/isolated.ts';
import { checkOptions, checkSignal, expected } from '../support/options.ts';
import { type Backoff, resolveBackoff } from './backoff.ts';
import { EngineChild } from './engineChild.ts';
import type { TransportName } from './engineLink.ts';
import type { EngineSource } from './engineMessages.ts';
import { type EngineEvent, type EngineSettings, SupervisedPolicy } from './supervisedPolicy.ts';

/** Which engine, and how long it may take. */
export interface SuperviseOptions {
  /** What the engine's process loads. `module` is a path or file URL of a module that exports `createPolicy(options)`. */
  readonly engine: EngineSource;
  /** Longest time for a prediction, in milliseconds. An engine that takes longer counts as hung, is killed and replaced. */
  readonly deadlineMs: number;
  /** The same for an engine's first prediction of each instruction, which also encodes it. Default `startMs`. */
  readonly firstDeadlineMs?: number;
  /** Longest time from start to ready. Default 60,000. */
  readonly startMs?: number;
  /** Interval of the engine's signs of life. Default 100. */
  readonly heartbeatMs?: number;
  /** Longest silence of an engine. Default 2,000. */
  readonly silenceMs?: number;
  /** How images and results travel. Default `shared`: memory shared by both processes. `pipe`: a socket pair. */
  readonly transport?: TransportName;
  readonly backoff?: Partial<Backoff>;
  /**
   * Environment variables of the engine in addition to those of this process, e.g. `CUDA_VISIBLE_DEVICES`. The server's token
   * (SEMANTICVLA_TOKEN) is passed on only if it is given here.
   */
  readonly env?: Readonly<Record<string, string>>;
  /**
   * Called synchronously in the middle of the work, so it must return quickly. What it throws or rejects with stops nothing.
   */
  readonly onEvent?: (event: EngineEvent) => void;
  readonly signal?: AbortSignal;
}

const optionNames = [
  'engine',
  'deadlineMs',
  'firstDeadlineMs',
  'startMs',
  'heartbeatMs',
  'silenceMs',
  'transport',
  'backoff',
  'env',
  'onEvent',
  'signal',
] as const satisfies readonly (keyof SuperviseOptions)[];

/**
 * Starts an engine in a process of its own and waits until it is ready.
 *
 * @throws (rejects) OPTION_*; the engine's own error if it does not load; ENGINE_LOST if its process ended, took longer than
 *   `startMs` or sent nonsense; BACKEND_UNAVAILABLE if no process can be started or there is no shared memory; the signal's
 *   reason
 */
export async function superviseEngine(options: SuperviseOptions): Promise<SupervisedPolicy> {
  const settings = resolve(options);
  options.signal?.throwIfAborted();
  const child = new EngineChild(settings.child);
  const started = performance.now();
  const stop = whenAborted(options.signal, () => child.kill());
  try {
    const facts = await child.ready;
    return new SupervisedPolicy(settings, child, facts, performance.now() - started);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw error;
  } finally {
    stop();
  }
}

function resolve(options: SuperviseOptions): EngineSettings {
  checkOptions(options, optionNames, 'superviseEngine');
  const { engine, deadlineMs, transport = 'shared', env = {}, onEvent, startMs = 60_000 } = options;
  const { firstDeadlineMs = Math.max(startMs, deadlineMs), heartbeatMs = 100, silenceMs = 2000 } = options;
  if (typeof engine !== 'object' || engine === null) {
    throw expected('OPTION_INVALID', 'an object { checkpoint } or { module }', 'engine', engine);
  }
  checkEngine(engine);
  checkSignal(options.signal);
  for (const [name, value] of Object.entries(env)) {
    if (typeof value !== 'string') throw expected('OPTION_INVALID', 'a text', `env.${name}`, value);
  }
  const numbers = { deadlineMs, firstDeadlineMs, startMs, heartbeatMs, silenceMs };
  for (const [name, value] of Object.entries(numbers)) {
    if (!(typeof value === 'number' && value > 0 && value < 2 ** 31)) {
      throw expected('OPTION_INVALID', 'milliseconds above 0', name, value);
    }
  }
  if (transport !== 'shared' && transport !== 'pipe') {
    throw expected('OPTION_INVALID', 'shared or pipe', 'transport', transport);
  }
  if (silenceMs < 2 * heartbeatMs) {
    throw expected('OPTION_INVALID', `at least twice heartbeatMs (${heartbeatMs})`, 'silenceMs', silenceMs);
  }
  const emit = isolated('onEvent of superviseEngine', onEvent);
  return {
    child: {
      source: engine,
      transport,
      beatMs: heartbeatMs,
      silenceMs,
      startMs,
      env,
      onOutput: (text) => emit({ kind: 'output', text }),
    },
    deadlineMs,
    firstDeadlineMs,
    startMs,
    backoff: resolveBackoff(options.backoff),
    emit,
  };
}

function checkEngine(engine: EngineSource): void {
  checkOptions(engine, ['checkpoint', 'module', 'options'], 'superviseEngine engine');
  if ('checkpoint' in engine === 'module' in engine) {
    throw expected('OPTION_INVALID', 'either a checkpoint or a module', 'engine', engine);
  }
  const path: unknown = 'checkpoint' in engine ? engine.checkpoint : engine.module;
  if (typeof path !== 'string' || path === '')
    throw expected('OPTION_INVALID', 'a path', 'engine.checkpoint or engine.module', path);
  checkJson(engine.options, 'engine.options');
}

/** Refuses values that JSON would change or drop: functions, signals, typed arrays, NaN, cycles. */
function checkJson(value: unknown, name: string, within: readonly unknown[] = []): void {
  if (value === undefined || value === null || typeof value === 'string' || typeof value === 'boolean')
    return;
  if (Number.isFinite(value)) return;
  const plain =
    typeof value === 'object' &&
    (Array.isArray(value) || [Object.prototype, null].includes(Object.getPrototypeOf(value) as null));
  if (!plain || within.includes(value)) {
    throw expected('OPTION_INVALID', "what JSON can carry to the engine's process", name, value);
  }
  for (const [key, part] of Object.entries(value)) checkJson(part, `${name}.${key}`, [...within, value]);
}
