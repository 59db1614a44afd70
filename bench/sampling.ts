/**
 * What looking at the machine's sensors does to the latency that is measured meanwhile: one policy in turns without it, with
 * it as `bench` does it, ten times as often, and without it once more (the noise of the comparison itself).
 *
 *   node --import tsx bench/sampling.ts [--preset tiny] [--seconds 12] [--turn 500] [--json]
 */

import { parseArgs } from 'node:util';
import { type MachineSampler, type SampledRun, sampleMachine } from '../lib/machine/sampleMachine.ts';
import { byRound } from '../lib/profile/measure/benchPolicies.ts';
import { pairedRatio } from '../lib/profile/measure/bootstrap.ts';
import { summarize } from '../lib/profile/measure/percentiles.ts';
import { type Runner, runInTurns } from '../lib/profile/measure/runner.ts';
import { loadSubjects } from '../lib/profile/measure/subjects.ts';
import type { SynthPreset } from '../lib/synth/presets.ts';
import { usualFrame, usualInstruction } from '../lib/synth/randomObservation.ts';
import type { Policy } from '../lib/types.ts';

const { values } = parseArgs({
  options: {
    preset: { type: 'string', default: 'tiny' },
    seconds: { type: 'string', default: '12' },
    turn: { type: 'string', default: '500' },
    json: { type: 'boolean', default: false },
  },
});

const policies: Policy[] = [];
const [loaded] = await loadSubjects(
  [{ preset: values.preset as SynthPreset, options: { threads: 1 } }],
  { instruction: usualInstruction, frame: usualFrame },
  policies,
);
const { runner } = loaded!;
let sampler: MachineSampler | null = null;
let current: string | null = null;
const runs: SampledRun[] = [];
/** The chunk that is not counted at the start of a turn changes over. */
function watched(name: string, intervalMs: number | null): Runner {
  return {
    name,
    chunk: async (signal) => {
      if (current !== name) {
        if (sampler !== null) runs.push(await sampler.stop());
        sampler = intervalMs === null ? null : await sampleMachine(intervalMs);
        current = name;
      }
      return runner.chunk(signal);
    },
  };
}

const runners = [
  watched('not watched', null),
  watched('watched every 100 ms, as bench does', 100),
  watched('watched every 10 ms', 10),
  watched('not watched, again', null),
];
const results = await runInTurns(runners, {
  warmUpMs: 500,
  warmUpChunks: 50,
  warmUpLimitMs: 1000,
  iterations: 1,
  durationMs: 1000 * Number(values.seconds),
  limitMs: 1000 * Number(values.seconds),
  turnMs: Number(values.turn),
  newInstructions: 0,
});
const [base] = results;
const rows = results.map(({ chunks, rounds }, i) => ({
  name: runners[i]!.name,
  chunks: chunks.length,
  rounds,
  medianMs: summarize(chunks.map(({ stages }) => stages.total!)).median,
  // above 1: faster than without
  ...pairedRatio(byRound(base!.chunks, rounds), byRound(chunks, rounds), 50),
}));
await (sampler as MachineSampler | null)?.stop();
const costs = [100, 10].map((intervalMs) => {
  const own = runs.filter((run) => run.intervalMs === intervalMs);
  const samples = own.reduce((sum, run) => sum + run.samples, 0);
  const mean = (of: (run: SampledRun) => number): number =>
    own.reduce((sum, run) => sum + of(run), 0) / samples;
  return {
    intervalMs,
    samples,
    costMs: mean((run) => run.costMs * run.samples),
    processorMs: mean((run) => run.processorMs ?? Number.NaN),
  };
});
for (const policy of policies) await policy.close();
if (values.json) console.log(JSON.stringify({ rows, costs }));
else {
  for (const { name, chunks, medianMs, value, low, high } of rows)
    console.log(
      `${name.padEnd(36)}  ${String(chunks).padStart(5)} chunks  median ${medianMs.toFixed(2)} ms  ${value.toFixed(4)}x  ${low.toFixed(4)} .. ${high.toFixed(4)}`,
    );
  for (const { intervalMs, samples, costMs, processorMs } of costs)
    console.log(
      `every ${intervalMs} ms: ${samples} samples, ${costMs.toFixed(2)} ms each, ${processorMs.toFixed(2)} ms of them on a processor`,
    );
}
