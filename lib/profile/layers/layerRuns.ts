/** What the runtimes' own profilers and inspectors report about runs of one graph, in one form for all. */

import { SemanticVlaError } from '../../support/errors.ts';

/** One node or kernel of one run. */
export interface LayerRun {
  /** As the runtime names it. */
  readonly name: string;
  /** Operator, or TensorRT's layer type; empty if the runtime does not say. */
  readonly kind: string;
  /** What the runtime records about the nodes behind the layer; empty if the name says it. */
  readonly metadata: string;
  /** Since the run began, milliseconds; null if the runtime reports durations only. */
  readonly startMs: number | null;
  /** Its own time: without what ran inside it. */
  readonly ms: number;
}

/** One run of one graph. */
export interface GraphRun {
  /**
   * When the runtime began, milliseconds: on the profiler's own clock as it was read, of process.hrtime once it is aligned
   * (alignRuns); null if unknown.
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
  const shifts = runs.map(({ at }, i) => (windows[i]?.at ?? Number.NaN) - (at ?? Number.NaN));
  const shift = Math.max(...shifts.filter((ms) => !Number.isNaN(ms)));
  return runs.map((run) => (run.at === null ? run : { ...run, at: run.at + shift }));
}

const nodeSuffix = '_kernel_time';

interface TraceEvent {
  readonly cat: string;
  readonly name: string;
  readonly ts: number;
  readonly dur: number;
  readonly args?: { readonly op_name?: unknown };
}

/**
 * ONNX Runtime's own profile: a JSON list of Chrome trace events, microseconds since the session was made.
 * `{cat: 'Session', name: 'model_run', ts, dur}` is a run, `{cat: 'Node', name: 'N_kernel_time', ts, dur, args: {op_name}}`
 * a node of it. The text comes from a file, so nothing about it is taken for granted.
 *
 * @param text the whole file
 * @param label of the file, for messages
 * @returns one entry a run, in the order in which they ran, on the profiler's own clock
 * @throws PROFILE_INVALID
 */
export function parseOrtTrace(text: string, label: string): GraphRun[] {
  const events = readEvents(text, label).sort(byStart);
  const runs = events.filter(({ cat, name }) => cat === 'Session' && name === 'model_run');
  const nodes = events.filter(({ cat, name }) => cat === 'Node' && name.endsWith(nodeSuffix));
  let next = 0;
  return runs.map((run) => {
    // what ran before the first run or between two belongs to none
    while (next < nodes.length && nodes[next]!.ts < run.ts) next += 1;
    const from = next;
    while (next < nodes.length && nodes[next]!.ts <= run.ts + run.dur) next += 1;
    return { at: run.ts / 1000, ms: run.dur / 1000, layers: ownTimes(nodes.slice(from, next), run.ts) };
  });
}

/** Earlier first; of two that begin together the longer one, which holds the other. */
const byStart = (a: TraceEvent, b: TraceEvent): number => a.ts - b.ts || b.dur - a.dur;

/** A node that runs others (If, Loop) keeps only its own time, so that the times add up to the run's. */
function ownTimes(nodes: readonly TraceEvent[], start: number): LayerRun[] {
  const own = nodes.map(({ dur }) => dur);
  const end = (i: number): number => nodes[i]!.ts + nodes[i]!.dur;
  const open: number[] = [];
  for (const [i, node] of nodes.entries()) {
    while (open.length > 0 && end(open.at(-1)!) <= node.ts) open.pop();
    const outer = open.at(-1);
    // clocks are whole microseconds: neighbours may share one, and that is no nesting
    if (outer !== undefined && end(i) <= end(outer)) own[outer]! -= node.dur;
    open.push(i);
  }
  return nodes.map(({ name, ts, args }, i) => ({
    name: name.slice(0, -nodeSuffix.length),
    kind: word(args?.op_name),
    metadata: '',
    startMs: (ts - start) / 1000,
    ms: Math.max(own[i]!, 0) / 1000,
  }));
}

function readEvents(text: string, label: string): TraceEvent[] {
  const fail = (wanted: string, found: string): SemanticVlaError =>
    invalid(label, wanted, found, 'Run the profile again; fewer --iterations make the file smaller.');
  const list = parsed(text, (message) => fail('a JSON list of events', message));
  if (!Array.isArray(list)) throw fail('a JSON list of events', typeof list);
  return list.filter((event: Partial<TraceEvent> | null, i): event is TraceEvent => {
    const { cat, name, ts, dur } = event ?? {};
    if (typeof cat !== 'string' || typeof name !== 'string')
      throw fail(`cat and name of event ${i}`, JSON.stringify(event).slice(0, 200));
    const isKept = cat === 'Session' || cat === 'Node';
    if (isKept && ![ts, dur].every((time) => Number.isFinite(time) && time! >= 0))
      throw fail(`microseconds for ts and dur of ${name}`, `${String(ts)} and ${String(dur)}`);
    return isKept;
  });
}

/** What TensorRT's inspector says of a layer; empty texts of plans that were built without detail. */
export interface InspectedLayer {
  readonly kind: string;
  /** `[ONNX Layer: ...]`, one for each node. */
  readonly metadata: string;
}

export interface InspectedPlan {
  readonly layers: ReadonlyMap<string, InspectedLayer>;
  /** The inspector's whole output, for tools that read trtexec's layer info. */
  readonly info: object;
}

/**
 * @param text of TensorRT's engine inspector: `{"Layers": [{"Name", "LayerType", "Metadata", ...}], "Bindings": [...]}`; without
 *   detail a layer is only its name
 * @throws PROFILE_INVALID
 */
export function parseInspector(text: string, label: string): InspectedPlan {
  const fail = (found: string): SemanticVlaError =>
    invalid(
      label,
      "the JSON of TensorRT's engine inspector with a list Layers",
      found,
      'Build the engines again with this version: semanticvla build CHECKPOINT --rebuild.',
    );
  const info = parsed(text, fail) as { readonly Layers?: unknown } | null;
  if (!Array.isArray(info?.Layers)) throw fail(text.slice(0, 100));
  const layers = new Map<string, InspectedLayer>();
  for (const layer of info.Layers as readonly unknown[]) {
    const fields = (typeof layer === 'string' ? { Name: layer } : layer) as Record<string, unknown> | null;
    if (typeof fields?.Name === 'string')
      layers.set(fields.Name, { kind: word(fields.LayerType), metadata: word(fields.Metadata) });
  }
  return { layers, info };
}

const word = (value: unknown): string => (typeof value === 'string' ? value : '');

function parsed(text: string, fail: (message: string) => SemanticVlaError): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw fail((cause as Error).message);
  }
}

function invalid(label: string, wanted: string, found: string, next: string): SemanticVlaError {
  return new SemanticVlaError('PROFILE_INVALID', `${label}: expected ${wanted}, found ${found}. ${next}`);
}
