/** A recorder's counts in Prometheus's text format (version 0.0.4). */

import { stageNames } from '../stages.ts';
import type { EventKind, EventRing } from './eventRing.ts';
import { type StageHistograms, stageBuckets } from './stageHistograms.ts';

const stageMetric = 'semanticvla_stage_seconds';

/** Counters of a control loop; a server counts its refusals itself. */
const loopCounters: readonly (readonly [kind: EventKind, name: string, help: string])[] = [
  ['executed', 'semanticvla_loop_executed_total', 'Actions of the policy that were sent.'],
  ['hold', 'semanticvla_loop_holds_total', 'Ticks without an action of the policy, by reason.'],
  [
    'deadline missed',
    'semanticvla_deadline_misses_total',
    'Predictions that took longer than their deadline.',
  ],
];

/** What is counted: a `Recorder` has both. */
export interface Counted {
  readonly histograms: StageHistograms;
  readonly events: EventRing;
}

/** Ends with a line's end. Stages that never ran are left out; the time of a whole prediction is not among them. */
export function prometheusText({ histograms, events }: Counted): string {
  const lines = [
    `# HELP ${stageMetric} Time of each stage of a prediction; stages may overlap and do not add up to the whole.`,
    `# TYPE ${stageMetric} histogram`,
  ];
  for (const [i, stage] of stageNames.entries()) {
    const { cumulative, sum } = histograms.of(i);
    const count = cumulative.at(-1)!;
    if (i === 0 || count === 0) continue;
    for (const [b, edge] of stageBuckets.entries())
      lines.push(`${stageMetric}_bucket{le="${edge}",stage="${stage}"} ${cumulative[b]}`);
    lines.push(
      `${stageMetric}_bucket{le="+Inf",stage="${stage}"} ${count}`,
      `${stageMetric}_sum{stage="${stage}"} ${sum}`,
      `${stageMetric}_count{stage="${stage}"} ${count}`,
    );
  }
  for (const [kind, name, help] of loopCounters) {
    const totals = events.totals(kind);
    if (totals.length === 0) continue;
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} counter`);
    for (const [reason, count] of totals)
      lines.push(`${name}${reason === '' ? '' : `{reason="${reason}"}`} ${count}`);
  }
  return `${lines.join('\n')}\n`;
}
