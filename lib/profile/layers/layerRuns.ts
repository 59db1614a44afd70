/** A runtime's profile of some runs of one graph, in one form for all runtimes. */

/** One node or kernel of one run. */
export interface LayerRun {
  /** As the runtime names it. */
  readonly name: string;
  /** Operator, or TensorRT's layer type; empty where the runtime does not say. */
  readonly kind: string;
  /** What the runtime records about the nodes behind the layer; empty where the name says it. */
  readonly metadata: string;
  /** Since the run began, milliseconds; null where the runtime reports durations only. */
  readonly startMs: number | null;
  /** Its own time: without what ran inside it. */
  readonly ms: number;
}

/** One run of one graph. */
export interface GraphRun {
  /**
   * When the runtime began, milliseconds: of the profiler's own clock as it was read, of process.hrtime once it is aligned
   * (alignRuns); null where that is not known.
   */
  readonly at: number | null;
  /** The whole run as the runtime saw it, milliseconds; the layers and what is between them. */
  readonly ms: number;
  /** In the order in which they ran. */
  readonly layers: readonly LayerRun[];
}

/** When the host saw a run begin and end, milliseconds of process.hrtime. */
export interface RunWindow {
  readonly at: number;
  readonly ms: number;
}

/**
 * Puts runs on the host's clock. One shift serves all of them: the smallest with which none begins before its window. The
 * windows are what the host measured around each run, so the shift is wrong by at most the tightest window's slack.
 * @param windows one a run, in the same order
 */
export function alignRuns(runs: readonly GraphRun[], windows: readonly RunWindow[]): GraphRun[] {
  let shift = Number.NEGATIVE_INFINITY;
  for (const [i, { at }] of runs.entries()) {
    const window = windows[i];
    if (at !== null && window !== undefined) shift = Math.max(shift, window.at - at);
  }
  return runs.map((run) => (run.at === null ? run : { ...run, at: run.at + shift }));
}
