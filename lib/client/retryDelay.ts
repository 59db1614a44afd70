/** How long a client waits before it tries to reach a server again. */

const shortestMs = 100;
const longestMs = 2000;

/**
 * 100 ms to 2 s: the upper limit doubles with each attempt, and the wait is drawn below it, so that robots that lost the same
 * server do not all come back at once.
 * @param attempt from 0
 * @param random in [0, 1)
 */
export function retryDelay(attempt: number, random: number): number {
  const most = Math.min(longestMs, shortestMs * 2 ** (attempt + 1));
  return shortestMs + random * (most - shortestMs);
}
