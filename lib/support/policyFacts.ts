/** Checks the facts that describe a policy, whether from a user's module, an engine process or a server. */

import type { Policy } from '../types.ts';
import { expected } from './options.ts';

export type PolicyFacts = Pick<
  Policy,
  'platform' | 'dimensions' | 'variant' | 'imageSize' | 'patchGrid' | 'notices'
>;

/**
 * The facts of `policy` and nothing else.
 * @param policy unknown on purpose: a user's module may return anything, and so may a broken engine or server
 * @throws OPTION_INVALID naming the first invalid field
 */
export function policyFacts(policy: unknown, from: string): PolicyFacts {
  const check = (right: boolean, what: string, name: string, value: unknown): void => {
    if (!right) throw expected('OPTION_INVALID', what, `${name} of ${from}`, value);
  };
  check(isObject(policy), 'an object', 'policy', policy);
  // a policy written by a user may have no notices
  const { platform, dimensions, variant, imageSize, patchGrid, notices = [] } = policy as Facts;
  check(isObject(platform), 'an object', 'platform', platform);
  const { name, cameras, chunk } = platform as Record<string, unknown>;
  check(typeof name === 'string', 'a text', 'platform.name', name);
  check(isTexts(cameras), 'a list of names', 'platform.cameras', cameras);
  check(Number.isInteger(chunk) && (chunk as number) > 0, 'a whole number above 0', 'platform.chunk', chunk);
  check(isTexts(dimensions) && dimensions.length > 0, 'a list of names', 'dimensions', dimensions);
  check(typeof variant === 'string', 'a text', 'variant', variant);
  check(isSize(imageSize), 'a whole number', 'imageSize', imageSize);
  check(isSize(patchGrid), 'a whole number', 'patchGrid', patchGrid);
  check(Array.isArray(notices) && notices.every(isNotice), 'a list of notices', 'notices', notices);
  return { platform, dimensions, variant, imageSize, patchGrid, notices } as PolicyFacts;
}

type Facts = Readonly<Record<keyof PolicyFacts, unknown>>;

function isNotice(value: unknown): boolean {
  const { code, message } = (value ?? {}) as Record<string, unknown>;
  return typeof code === 'string' && typeof message === 'string';
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === 'string');
}

/** 0: not known. */
function isSize(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}
