import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { summarize } from '../../../lib/profile/measure/percentiles.ts';
import { driftOf, gpuWarnings } from '../../../lib/profile/measure/warnings.ts';
import { ChunkRing } from '../../../lib/profile/recorder/rings.ts';
import { chunksCsv } from '../../../lib/profile/report/exports.ts';
import type { BenchReport, StageTimes, SubjectResult } from '../../../lib/profile/types.ts';

const test = suite('profile/measure/warnings');

function subject(name: string, backend: 'cpu' | 'tensorrt', stages: StageTimes): SubjectResult {
  return {
    subject: { name, backend },
    chunks: [{ startMs: 100, round: 0, stages }],
    summary: Object.fromEntries(Object.entries(stages).map(([stage, ms]) => [stage, summarize([ms])])),
  } as unknown as SubjectResult;
}

const onGpu: StageTimes = {
  ...{ total: 10, preprocess: 2, policy: 7, enqueue: 0.5 },
  ...{ h2d: 1, compute: 5, d2h: 0.25, unnormalize: 0.01 },
};

test('CSV: one line a chunk, a stage that did not run is empty, names are quoted where needed', () => {
  const report = {
    subjects: [subject('a, "b"', 'tensorrt', onGpu), subject('c', 'cpu', { total: 4, policy: 3 })],
  } as unknown as BenchReport;
  assert.equal(chunksCsv(report).trimEnd().split('\r\n'), [
    'subject,kind,round,startMs,totalMs,preprocessMs,policyMs,enqueueMs,h2dMs,computeMs,d2hMs,unnormalizeMs',
    '"a, ""b""",chunk,0,100,10,2,7,0.5,1,5,0.25,0.01',
    'c,chunk,0,100,4,,3,,,,,',
  ]);
});

test('a stage that did not run is left out, not zero', () => {
  const timings = { preprocess: 1, decode: 0, resize: 0.5, instruction: 0, policy: 3, device: 2.5, total: 5 };
  const ring = new ChunkRing(2);
  for (const one of [timings, { ...timings, instruction: 2, tokenize: 1 }])
    ring.end(ring.begin(0), 6, 'done', one);
  const [without, told] = ring.records().map(({ stages }) => stages);
  // the total is what was measured from outside
  assert.equal(without, { total: 6, preprocess: 1, resize: 0.5, policy: 3 });
  assert.is(told!.instruction, 2);
});

test("trtexec's warnings at its limits: enqueue above 0.8 of compute, transfers as long as compute", () => {
  const codes = (stages: StageTimes): string[] =>
    gpuWarnings(subject('a', 'tensorrt', stages).summary).map(({ code }) => code);
  assert.equal(codes({ enqueue: 4, compute: 5, h2d: 4.9, d2h: 4.9 }), []);
  assert.equal(codes({ enqueue: 4.01, compute: 5 }), ['enqueue-bound']);
  assert.equal(codes({ enqueue: 1, compute: 5, h2d: 5 }), ['h2d-bound']);
  assert.equal(codes({ compute: 5, h2d: 1, d2h: 6 }), ['d2h-bound']);
  assert.equal(codes({ enqueue: 9, policy: 5 }), [], 'nothing is said about what was not measured');
});

test('drift: a run whose end is slower than its beginning, beyond the spread', () => {
  const flat = Array.from({ length: 300 }, (_, i) => 10 + (i % 7) / 10);
  assert.is(driftOf(flat), 0);
  const heating = flat.map((ms, i) => ms * (1 + i / 1500));
  assert.ok(driftOf(heating)! > 0.1);
  assert.ok(driftOf(heating.toReversed())! < -0.1);
  assert.is(driftOf(flat.slice(0, 20)), null);
});

test.run();
