/** CLOCK_MONOTONIC, the clock of every measurement, in milliseconds. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
