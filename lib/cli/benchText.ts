/** A bench report as text. */

import { machineRows } from '../machine/machineRows.ts';
import { energyText } from '../machine/subjectEnergy.ts';
import { verdictOf } from '../profile/measure/bootstrap.ts';
import { selfCheckText } from '../profile/measure/selfCheck.ts';
import { threadsText } from '../profile/measure/subjectFacts.ts';
import { stageNames } from '../profile/stages.ts';
import type { BenchReport, GateVerdict, StageName, SubjectResult, Summary } from '../profile/types.ts';
import { formatCount, formatMs, formatTable } from './format.ts';

/** What a stage is called in the table, in the words of trtexec where it has one. */
const labels: Readonly<Record<StageName, string>> = {
  total: 'latency, end to end',
  preprocess: 'preprocess',
  preprocessOnDevice: 'preprocess (frames over)',
  decode: '  decode (JPEG)',
  resize: '  resize',
  crop: '  crop',
  normalize: 'normalize',
  tokenize: 'tokenize',
  instruction: 'instruction',
  policy: 'policy',
  enqueue: '  enqueue',
  h2d: '  H2D',
  compute: '  compute',
  d2h: '  D2H',
  unnormalize: 'unnormalize',
};

/** 4 significant digits, at least microseconds. */
function ms(value: number): string {
  return value.toFixed(value < 10 ? 3 : value < 100 ? 2 : 1);
}

export function benchText(report: BenchReport): string {
  const { subjects, comparisons, selfCheck, warnings, gate } = report;
  return [
    ...(selfCheck.passed === false
      ? [loud(warnings.find(({ code }) => code === 'self-check-failed')!.text)]
      : []),
    ...subjects.map(subjectText),
    ...(comparisons.length === 0 ? [] : [comparisonText(report)]),
    [selfCheckText(selfCheck), machineText(report)].join('\n'),
    ...(warnings.length === 0
      ? []
      : [warnings.map(({ code, text }) => `WARNING ${code}: ${text}`).join('\n')]),
    ...(gate === undefined ? [] : [gateText(gate)]),
  ].join('\n\n');
}

function loud(text: string): string {
  const line = '!'.repeat(100);
  return `${line}\n${text}\n${line}`;
}

function subjectText({
  subject,
  cold,
  warmUp,
  chunks,
  summary,
  throughput,
  rhythm,
  newInstruction = [],
  peakMemoryBytes,
  energy,
}: SubjectResult): string {
  const { frame } = subject;
  const size = frame === undefined ? '' : ` ${frame.width} x ${frame.height}`;
  const threads = subject.threads === null ? '' : `, ${threadsText(subject.threads)}`;
  const seconds = chunks.length / throughput;
  const memory =
    peakMemoryBytes === null ? '' : `; peak memory ${(peakMemoryBytes / 2 ** 30).toFixed(2)} GiB`;
  const head = [
    [
      subject.name,
      `${subject.variant}, ${formatCount(subject.parameters)} parameters, ${subject.source}; ${subject.runtime}, ${subject.precision}, weights ${subject.weights}${threads}`,
    ],
    [
      '',
      `${subject.cameras.length} ${subject.cameras.length === 1 ? 'camera' : 'cameras'}${size}, ${subject.promptTokens} prompt tokens -> ${subject.chunk} x ${subject.actionDim} actions`,
    ],
    [
      'cold',
      `load ${formatMs(cold.loadMs)}, instruction ${formatMs(cold.instructionMs)}, first chunk ${formatMs(cold.firstChunkMs)}`,
    ],
    [
      'warm-up',
      `${warmUp.chunks} chunks in ${formatMs(warmUp.ms)}; ${warmUp.stable ? 'steady' : 'NOT STEADY'}: ${warmUp.because}`,
    ],
    [
      'throughput',
      `${throughput.toFixed(throughput < 10 ? 3 : 1)} chunks/s over ${chunks.length} chunks in ${seconds.toFixed(1)} s${memory}`,
    ],
    ...(rhythm === undefined ? [] : [['rhythm', rhythmText(rhythm, chunks.length)]]),
    ...(energy === undefined ? [] : [['energy', energyText(energy)]]),
  ];
  const asked = Object.keys(summary.total?.percentiles ?? {});
  const columns = ['ms', 'min', 'mean', 'median', 'p90', 'p95', 'p99', ...asked.map((p) => `p${p}`), 'max'];
  const row = (stage: StageName): string[][] => {
    const of = summary[stage];
    if (of === undefined) return [];
    return [
      [
        labels[stage],
        ...[of.min, of.mean, of.median, of.p90, of.p95, of.p99].map(ms),
        ...further(of, asked),
        ms(of.max),
      ],
    ];
  };
  const isNew = (stage: StageName): boolean => stage === 'tokenize' || stage === 'instruction';
  const rows = stageNames.filter((stage) => !isNew(stage)).flatMap(row);
  const newRows = stageNames.filter(isNew).flatMap(row);
  const table = formatTable(
    [
      columns,
      ...rows,
      ...(newRows.length === 0
        ? []
        : [
            [`new instruction (${newInstruction.length})`],
            ...newRows.map(([name, ...cells]) => [`  ${name}`, ...cells]),
          ]),
    ],
    ['left'],
  );
  return `${formatTable(head, ['left', 'left'])}\n${table}`;
}

/** `10 Hz, a chunk each 100.0 ms: 3 of 600 ticks missed (0.5 %)`; a tick is missed where the chunk before was still computed. */
export function rhythmText({ rateHz, missed }: NonNullable<SubjectResult['rhythm']>, met: number): string {
  const ticks = met + missed;
  const share = ticks === 0 ? 0 : (100 * missed) / ticks;
  return `${rateHz} Hz, asked each ${formatMs(1000 / rateHz)}: ${missed} of ${ticks} ticks missed (${share.toFixed(1)} %), since the chunk before was not there yet`;
}

function further({ percentiles = {} }: Summary, asked: readonly string[]): string[] {
  return asked.map((p) => ms(percentiles[p]!));
}

function comparisonText({ comparisons }: BenchReport): string {
  const [first] = comparisons;
  const rows = comparisons.map((comparison) => [
    comparison.subject,
    `${comparison.ratio.toFixed(3)}x`,
    `${comparison.low.toFixed(3)} .. ${comparison.high.toFixed(3)}`,
    String(comparison.rounds),
    verdictOf(comparison),
  ]);
  const columns = [
    `against ${first!.baseline}`,
    'ratio',
    `${100 * first!.confidence} % interval`,
    'rounds',
    '',
  ];
  return (
    `${formatTable([columns, ...rows], ['left', 'right', 'right', 'right', 'left'])}\n` +
    'ratio: its median over the subject’s; they took turns, and rounds are drawn together (paired bootstrap)'
  );
}

/** The machine, its state before and after, throttling, energy: everything that decides whether the figures mean anything. */
function machineText({ machine, software }: BenchReport): string {
  const rows = [...machineRows(machine), ['Node', software.node ?? 'unknown'] as const];
  return formatTable(
    rows.map(([label, value], i) => [i === 0 ? 'machine:' : '', label, value]),
    ['left', 'left', 'left'],
  );
}

export function gateText(gate: readonly GateVerdict[]): string {
  const words = { pass: 'PASS', fail: 'FAIL', noisy: 'TOO NOISY TO TELL' } as const;
  return gate
    .map(({ outcome, condition, because }) => `${words[outcome]}  ${condition}  ${because}`)
    .join('\n');
}
