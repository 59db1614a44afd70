/**
 * Callbacks of users: listeners, loggers, `onEvent`, `onOutput`, progress. They are only informed, so nothing that they do stops
 * the caller: no exception, no promise that rejects or never settles, no return value.
 */

import { expected } from './options.ts';

/** `code` of the process warning of a callback that failed. */
export const callbackFailed = 'SEMANTICVLA_CALLBACK_FAILED';

/** Callbacks that have failed and been warned of; one that is passed to several calls is warned of once. */
const reported = new WeakSet<object>();

/**
 * Makes `callback` safe to call anywhere: it never throws, returns nothing and waits for nothing. Its first failure becomes a
 * process warning with code SEMANTICVLA_CALLBACK_FAILED; it is still called after that, and further failures are silent. It
 * runs synchronously in the middle of the work: a callback that blocks delays that work but does not end it.
 *
 * @param what names it in errors and in the warning, e.g. `onEvent of superviseEngine`
 * @param callback undefined: nothing is called
 * @throws OPTION_INVALID if `callback` is not a function
 */
export function isolated<A extends readonly unknown[]>(
  what: string,
  callback: ((...args: A) => unknown) | undefined,
): (...args: A) => void {
  if (callback === undefined) return () => {};
  if (typeof callback !== 'function') throw expected('OPTION_INVALID', 'a function', what, callback);
  const failed = (error: unknown): void => {
    if (reported.has(callback)) return;
    reported.add(callback);
    warn(what, error);
  };
  return (...args) => {
    try {
      const result: unknown = callback(...args);
      // a promise or a thenable: its failure is reported, but it is never awaited
      if (result !== undefined) Promise.resolve(result).then(undefined, failed);
    } catch (error) {
      failed(error);
    }
  };
}

function warn(what: string, error: unknown): void {
  process.emitWarning(
    `${what} failed: ${textOf(error)}. The work goes on; further failures of this callback are not reported.`,
    { type: 'SemanticVlaWarning', code: callbackFailed, ...stackOf(error) },
  );
}

/** Anything can be thrown, even a value that cannot be printed. */
function textOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return 'with something that cannot be shown';
  }
}

function stackOf(error: unknown): { detail?: string } {
  try {
    return error instanceof Error && typeof error.stack === 'string' ? { detail: error.stack } : {};
  } catch {
    return {};
  }
}
