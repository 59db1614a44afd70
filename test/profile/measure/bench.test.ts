import { mkdirSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { benchText } from '../../../lib/cli/benchText.ts';
import { buildProgram } from '../../../lib/cli/main.ts';
import { benchPolicies } from '../../../lib/profile/measure/benchPolicies.ts';
import type { BenchReport, StageName, SubjectResult } from '../../../lib/profile/types.ts';
import { presetFolder } from '../../../lib/synth/presetFolder.ts';
import { cli, inFolder } from '../../helpers/cli.ts';
import { goldenCheckpoint, scratchFolder } from '../../helpers/golden.ts';
import { failure } from '../../observation/errorCode.ts';

const test = suite('profile/measure/bench');
const checkpoint = goldenCheckpoint('libero-tiny');
const platform = ['--platform', 'libero'];
/** Few chunks: what is checked is what a report says, not how fast this machine is. */
const short = ['--warm-up', '6', '--iterations', '20'];

const few = {
  warmUpMs: 0,
  warmUpChunks: 1,
  warmUpLimitMs: 1,
  iterations: 1,
  durationMs: 0,
  newInstructions: 3,
};

const hostStages: readonly StageName[] = [
  'total',
  'preprocess',
  'decode',
  'resize',
  'crop',
  'normalize',
  'policy',
  'unnormalize',
];

function checkSubject({
  subject,
  cold,
  warmUp,
  chunks,
  newInstruction,
  summary,
  throughput,
}: SubjectResult): void {
  assert.is(subject.variant, 'SemanticVLA');
  assert.is(subject.backend, 'cpu');
  assert.match(subject.runtime, /^ONNX Runtime \d+\.\d+\.\d+$/);
  assert.is(subject.precision, 'float32');
  assert.is(subject.weights, 'folded');
  assert.equal(subject.frame, { width: 256, height: 256 });
  assert.is(subject.chunk, 8);
  assert.is(subject.actionDim, 7);
  assert.ok(subject.parameters > 1e5);
  assert.ok(subject.threads! >= 1);
  assert.ok(cold.loadMs > 0 && cold.instructionMs > 0 && cold.firstChunkMs > cold.instructionMs);
  assert.ok(warmUp.chunks === 6 && warmUp.ms > 0);
  assert.is(warmUp.because.length > 10, true);
  assert.ok(chunks.length >= 20);
  assert.ok(throughput > 0);
  assert.equal(Object.keys(summary).toSorted(), [...hostStages, 'instruction', 'tokenize'].toSorted());
  for (const stage of hostStages) assert.is(summary[stage]!.count, chunks.length, stage);
  assert.is(summary.tokenize!.count, newInstruction!.length);
  for (const { stages } of chunks) {
    assert.is(stages.tokenize, undefined, 'the sentence was encoded before');
    assert.ok(stages.decode! + stages.resize! + stages.crop! <= stages.preprocess!);
    assert.ok(stages.preprocess! + stages.policy! + stages.unnormalize! <= stages.total!);
  }
  for (const { stages } of newInstruction!)
    assert.ok(stages.tokenize! > 0 && stages.instruction! > stages.tokenize!);
}

test('--json prints the whole report; several prompt lengths, cameras and threads take turns', async () => {
  await inFolder((dir) => {
    const csv = join(dir, 'chunks.csv');
    const started = Date.now();
    const { code, stdout, stderr } = cli(
      ...['bench', checkpoint, ...platform, ...short, '--prompt-length', '20,31', '--threads', '1'],
      ...['--percentile', '75,99.9', '--json', '--csv', csv],
    );
    assert.is(code, 0, stderr);
    const report = JSON.parse(stdout) as BenchReport;
    assert.is(report.format, 'semanticvla-bench');
    assert.is(report.version, 1);
    const createdAt = Date.parse(report.createdAt);
    assert.ok(createdAt >= started && createdAt <= Date.now(), report.createdAt);
    assert.ok(report.command.includes('--prompt-length'));
    assert.equal(Object.keys(report.software).toSorted(), ['ONNX Runtime', 'node', 'semanticvla']);
    assert.ok(report.machine.cpu.cores >= 1);
    assert.ok(report.machine.end !== null);
    assert.ok(report.selfCheck.eventLoopDelay.count > 0);
    assert.is(report.subjects.length, 2);
    report.subjects.forEach(checkSubject);
    assert.equal(
      report.subjects.map(({ subject }) => subject.promptTokens),
      [20, 31],
    );
    assert.is(new Set(report.subjects.map(({ subject }) => subject.name)).size, 2);
    assert.equal(Object.keys(report.subjects[0]!.summary.total!.percentiles!), ['75', '99.9']);
    const [comparison] = report.comparisons;
    assert.is(comparison!.baseline, report.subjects[0]!.subject.name);
    assert.ok(comparison!.low <= comparison!.ratio && comparison!.ratio <= comparison!.high);
    assert.ok(comparison!.rounds >= 20);
    assert.ok(
      report.warnings.some(({ code, text }) => code === 'few-chunks' && text.includes('--iterations')),
    );
    assert.equal(report.rooflines, {});

    const lines = readFileSync(csv, 'utf8').trimEnd().split('\n');
    const all = report.subjects.reduce(
      (sum, { chunks, newInstruction }) => sum + chunks.length + newInstruction!.length,
      0,
    );
    assert.is(lines.length, 1 + all);
    assert.match(lines[0]!, /^subject,kind,round,startMs,totalMs,preprocessMs,/);
  });
});

test('for people: a table a subject, the comparison, the self-check, the machine', async () => {
  const options = { platform: 'libero' } as const;
  const report = await benchPolicies(
    [
      { checkpoint, options },
      { checkpoint, options },
    ],
    {
      ...few,
      iterations: 20,
      percentiles: [99.9],
    },
  );
  const text = benchText(report);
  assert.match(text, /libero-tiny cpu {2}.*SemanticVLA/);
  assert.match(text, /libero-tiny cpu \(2\)/);
  assert.match(text, /cold +load [\d.]+ m?s, instruction [\d.]+ m?s, first chunk [\d.]+ m?s/);
  assert.match(text, /^ms +min +mean +median +p90 +p95 +p99 +p99\.9 +max$/m);
  assert.match(text, /^latency, end to end( +\d+\.\d+){8}$/m);
  assert.match(text, /^new instruction \(3\)$/m);
  assert.match(text, /\d\.\d{3}x +\d\.\d{3} \.\. \d\.\d{3}/);
  assert.match(text, /^self-check (passed|FAILED): /m);
  assert.match(text, /^machine: /m);
  assert.match(text, /^WARNING few-chunks: /m);
  const { selfCheck } = report;
  const failed = { code: 'self-check-failed', text: 'The recorder failed its self-check: x' };
  const loud = benchText({ ...report, selfCheck: { ...selfCheck, passed: false }, warnings: [failed] });
  assert.match(loud, /^!{20,}\nThe recorder failed/);
});

test('usage errors name what was expected', async () => {
  const cases: [string[], RegExp][] = [
    [[], /--preset \(.*libero.*found neither/],
    [['--preset', 'huge'], /Expected .*libero or /],
    [['x', '--threads', '1,0'], /--threads.*>= 1/],
    [['x', '--backend', 'cuda'], /Allowed choices are cpu, tensorrt/],
    [['x', '--percentile', '101'], /0\.\.100/],
    [['x', '--frame-size', '640'], /WIDTHxHEIGHT/],
    [['x', '--frame', '640x480'], /--frame .*--frame-size/],
    [['x', '--rate', '0'], /--rate.*above 0/],
    [['x', '--warmup', '1'], /--warmup'\n.*--warm-up/],
    [['x', '--warmUp', '40'], /--warmUp is not a flag of bench: use --warm-up N/],
    [['x', '--json', 'bench.json'], /found bench\.json; use --report bench\.json/],
    [['x', '--json', '-'], /leave - out/],
    [['x', '--cameras', '1,2'], /--camera-counts/],
  ];
  const nothing = (): void => undefined;
  const context = {
    print: nothing,
    json: nothing,
    onProgress: nothing,
    onNotice: nothing,
    signal: new AbortController().signal,
  };
  for (const [args, message] of cases) {
    const program = buildProgram(async (body, flags) => void (await body(context, flags)));
    const error = await program.parseAsync(['bench', ...args], { from: 'user' }).then(
      () => new Error('no error'),
      (error: Error) => error,
    );
    assert.match(error.message, message);
  }
});

test('cameras by number, prompt lengths that cannot be, misspelled options', async () => {
  const few = {
    warmUpMs: 0,
    warmUpChunks: 1,
    warmUpLimitMs: 1,
    iterations: 1,
    durationMs: 0,
    newInstructions: 0,
  };
  const options = { platform: 'libero' } as const;
  const report = await benchPolicies([{ checkpoint, options, cameraCount: 1 }], few);
  assert.is(report.subjects[0]!.subject.cameras.length, 1);
  const tooShort = await failure(() => benchPolicies([{ checkpoint, options, promptTokens: 5 }], few));
  assert.is(tooShort.code, 'OPTION_INVALID');
  assert.match(tooShort.message, /Prompt length 5: expected at least \d+ tokens/);
  const tooLong = await failure(() => benchPolicies([{ checkpoint, options, promptTokens: 100_000 }], few));
  assert.match(tooLong.message, /Prompt length 100000: expected at most \d+ tokens/);
  const misspelled = await failure(() => benchPolicies([{ checkpoint }], { iteration: 1 } as object));
  assert.is(misspelled.code, 'OPTION_UNKNOWN');
  assert.match(misspelled.message, /iteration of benchPolicies should be iterations/);
});

test('an aborted run rejects with the reason and leaves nothing half done', async () => {
  const reason = new Error('enough');
  const controller = new AbortController();
  const onProgress = ({ step }: { step: string }): void => {
    if (step === 'measuring') controller.abort(reason);
  };
  const options = { platform: 'libero' } as const;
  const outcome = await benchPolicies([{ checkpoint, options }], {
    warmUpMs: 0,
    warmUpChunks: 1,
    warmUpLimitMs: 1,
    signal: controller.signal,
    onProgress,
  }).catch((error: unknown) => error);
  assert.is(outcome, reason);
});

test('a preset is made once in the cache folder; too little space is said before anything is written', async () => {
  const cacheDir = join(scratchFolder(), 'bench-cache');
  mkdirSync(cacheDir, { recursive: true });
  const steps: string[] = [];
  const first = await presetFolder('tiny', { cacheDir, onProgress: ({ step }) => steps.push(step) });
  assert.ok(steps.length > 0);
  steps.length = 0;
  assert.is(await presetFolder('tiny', { cacheDir, onProgress: ({ step }) => steps.push(step) }), first);
  assert.equal(steps, []);
  const { bavail, bsize } = statfsSync(cacheDir);
  // the full-size policy needs 16 GB; where the disk has them nothing is refused, and writing is not tried here
  if (bavail * bsize < 15e9) {
    const { code, message } = await failure(() => presetFolder('libero', { cacheDir }));
    assert.is(code, 'OUTPUT_NO_SPACE');
    assert.match(message, /bytes free for the checkpoint/);
  }
  const aborted = await presetFolder('libero', { cacheDir, signal: AbortSignal.abort('no') }).catch(
    (e: unknown) => e,
  );
  assert.is(aborted, 'no');
  assert.equal(readdirSync(join(cacheDir, 'presets')), ['tiny-v1']);
});

test.run();
