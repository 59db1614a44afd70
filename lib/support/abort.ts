/** Waits that end when their signal is aborted, without leaving a listener on a signal that outlives them. */

/**
 * Calls `onAbort` once when `signal` is aborted, or at once if it already is.
 * @param signal undefined: never
 * @returns a function that stops listening; call it when the work is done, however it ended. Harmless afterwards
 */
export function whenAborted(signal: AbortSignal | undefined, onAbort: (reason: unknown) => void): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) {
    onAbort(signal.reason);
    return () => {};
  }
  const listener = (): void => onAbort(signal.reason);
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/**
 * Settles as `promise` does, or rejects with the signal's reason if that comes first. The work behind the promise continues.
 * @param drop called with a value that arrives after the abort, to release it
 */
export function orAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  drop: (value: T) => void = () => {},
): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    let gone = false;
    const stop = whenAborted(signal, (reason) => {
      gone = true;
      reject(reason);
    });
    promise.then(
      (value) => {
        stop();
        if (gone) drop(value);
        else resolve(value);
      },
      (error: unknown) => {
        stop();
        reject(error);
      },
    );
  });
}

/** Resolves after `ms`, or early, without an error, when aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    let stop = (): void => {};
    const end = (): void => {
      clearTimeout(timer);
      stop();
      resolve();
    };
    const timer = setTimeout(end, ms);
    stop = whenAborted(signal, end);
  });
}
