/**
 * ONNX Runtime's own profile: a JSON list of Chrome trace events, microseconds since the session was made.
 * `{cat: 'Session', name: 'model_run', ts, dur}` is a run, `{cat: 'Node', name: 'N_kernel_time', ts, dur, args: {op_name}}`
 * a node of it. The text comes from a file, so nothing about it is taken for granted.
 */

import { SemanticVlaError } from '../../support/errors.ts';
import type { GraphRun, LayerRun } from './layerRuns.ts';

const nodeSuffix = '_kernel_time';

interface TraceEvent {
  readonly cat: string;
  readonly name: string;
  readonly ts: number;
  readonly dur: number;
  readonly kind: string;
}

/**
 * @param text the whole file
 * @param label of the file, for messages
 * @returns one entry a run, in the order in which they ran, on the profiler's own clock
 * @throws PROFILE_INVALID
 */
export function parseOrtTrace(text: string, label: string): GraphRun[] {
  const events = readEvents(text, label);
  const runs = events.filter(({ cat, name }) => cat === 'Session' && name === 'model_run').sort(byStart);
  const nodes = events.filter(({ cat, name }) => cat === 'Node' && name.endsWith(nodeSuffix)).sort(byStart);
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
function byStart(a: TraceEvent, b: TraceEvent): number {
  return a.ts - b.ts || b.dur - a.dur;
}

/** A node that runs others (If, Loop) keeps only its own time, so that the times add up to the run's. */
function ownTimes(nodes: readonly TraceEvent[], start: number): LayerRun[] {
  const own = nodes.map(({ dur }) => dur);
  const open: number[] = [];
  for (const [i, node] of nodes.entries()) {
    while (open.length > 0 && end(nodes[open.at(-1)!]!) <= node.ts) open.pop();
    const outer = open.at(-1);
    // clocks are whole microseconds: neighbours may share one, and that is no nesting
    if (outer !== undefined && end(node) <= end(nodes[outer]!)) {
      own[outer]! -= node.dur;
    }
    open.push(i);
  }
  return nodes.map((node, i) => ({
    name: node.name.slice(0, -nodeSuffix.length),
    kind: node.kind,
    metadata: '',
    startMs: (node.ts - start) / 1000,
    ms: Math.max(own[i]!, 0) / 1000,
  }));
}

function end({ ts, dur }: TraceEvent): number {
  return ts + dur;
}

function readEvents(text: string, label: string): TraceEvent[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (cause) {
    throw invalid(label, 'a JSON list of events', (cause as Error).message, cause);
  }
  if (!Array.isArray(list)) throw invalid(label, 'a JSON list of events', typeof list);
  return list.flatMap((entry: unknown, i) => {
    if (typeof entry !== 'object' || entry === null) throw invalid(label, `an object at ${i}`, String(entry));
    const { cat, name, ts, dur, args } = entry as Record<string, unknown>;
    if (typeof cat !== 'string' || typeof name !== 'string')
      throw invalid(label, `cat and name of event ${i}`, JSON.stringify(entry).slice(0, 200));
    if (cat !== 'Session' && cat !== 'Node') return [];
    if (!isTime(ts) || !isTime(dur))
      throw invalid(label, `microseconds for ts and dur of ${name}`, `${String(ts)} and ${String(dur)}`);
    const facts = (typeof args === 'object' && args !== null ? args : {}) as Record<string, unknown>;
    return [
      {
        cat,
        name,
        ts,
        dur,
        kind: typeof facts.op_name === 'string' ? facts.op_name : '',
      },
    ];
  });
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function invalid(label: string, wanted: string, found: string, cause?: unknown): SemanticVlaError {
  return new SemanticVlaError(
    'PROFILE_INVALID',
    `${label}: expected ${wanted}, found ${found}. Run the profile again; fewer --iterations make the file smaller.`,
    { cause },
  );
}
