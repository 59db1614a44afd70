/** Reports of made-up runs, the same at every call: shapes and sizes as `bench` writes them, figures of no machine. */

import { presetArchitecture, presetSizes } from '../../lib/engine/presetArchitecture.ts';
import type { MachineSeries, MachineState, SensorSeries } from '../../lib/machine/types.ts';
import { blockOf } from '../../lib/profile/layers/blocks.ts';
import { findDevice } from '../../lib/profile/roofline/devices.ts';
import { policyWork } from '../../lib/profile/roofline/policyWork.ts';
import { rooflineOf } from '../../lib/profile/roofline/roofline.ts';
import type {
  BenchReport,
  ChunkRecord,
  LayerTime,
  StageName,
  SubjectResult,
  Summary,
} from '../../lib/profile/types.ts';

/** Numbers in [0, 1), a 32-bit linear congruence. */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function summarize(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (p: number): number => sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)]!;
  return {
    count: sorted.length,
    min: sorted[0]!,
    max: sorted.at(-1)!,
    mean: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
    median: at(0.5),
    p90: at(0.9),
    p95: at(0.95),
    p99: at(0.99),
  };
}

export interface MadeUpSubject {
  readonly name: string;
  readonly baseMs: number;
  readonly chunks: number;
  readonly backend?: 'cpu' | 'tensorrt';
  /** Slower by this share at the end of the run. */
  readonly drift?: number;
  /** Every so many chunks one takes three to nine times as long. */
  readonly outlierEvery?: number;
}

function subject(made: MadeUpSubject, index: number): SubjectResult {
  const { name, baseMs, backend = 'tensorrt', drift = 0, outlierEvery = 170 } = made;
  const random = randomNumbers(index + 1);
  const chunks: ChunkRecord[] = [];
  let at = 0;
  for (let i = 0; i < made.chunks; i++) {
    // sum of three: bell-shaped, with a tail
    const noise = (random() + random() + random()) / 3 + 0.3 * random() ** 8;
    const slow = i % outlierEvery === outlierEvery - 1 ? 3 + 6 * random() : 1;
    const total = baseMs * (0.94 + 0.12 * noise + (drift * i) / made.chunks) * slow;
    const share = (part: number): number => total * part;
    const stages: Partial<Record<StageName, number>> = {
      total,
      decode: share(0.02),
      resize: share(0.06),
      crop: share(0.01),
      normalize: share(0.001),
      policy: share(0.88),
      unnormalize: share(0.001),
      ...(backend === 'tensorrt'
        ? { enqueue: share(0.05), h2d: share(0.01), compute: share(0.84), d2h: share(0.005) }
        : {}),
    };
    chunks.push({ startMs: at, stages });
    at += total * 1.02;
  }
  const stages = Object.keys(chunks[0]!.stages) as StageName[];
  return {
    subject: {
      name,
      variant: 'SemanticVLA',
      source: 'preset libero',
      backend,
      runtime: backend === 'cpu' ? 'ONNX Runtime 1.30.0' : 'TensorRT 10.3.0.26',
      precision: backend === 'cpu' ? 'float32' : 'bfloat16',
      weights: backend === 'cpu' ? 'folded' : 'bound',
      promptTokens: 30,
      cameras: ['full_image', 'wrist_image'],
      chunk: 8,
      actionDim: 7,
      parameters: 7.54e9,
      threads: backend === 'cpu' ? 8 : null,
    },
    cold: { loadMs: 8200, instructionMs: 14 * baseMs, firstChunkMs: 3.1 * baseMs },
    warmUp: { chunks: 300, ms: 300 * baseMs, stable: true, because: 'medians of 3 windows within 1 %' },
    chunks,
    summary: Object.fromEntries(
      stages.map((stage) => [stage, summarize(chunks.map((chunk) => chunk.stages[stage]!))]),
    ),
    throughput: (1000 * chunks.length) / at,
    peakMemoryBytes: 17.2e9,
  };
}

/** Layers with the names of the real graph's nodes and times after their work. */
function layersOf(totalMs: number): LayerTime[] {
  const tower = (name: string, blocks: number): string[] =>
    Array.from({ length: blocks }, (_, i) => [
      `${name}/block${i}/attn/qkv`,
      `${name}/block${i}/mlp/fc1`,
    ]).flat();
  const llama = Array.from({ length: 32 }, (_, i) =>
    ['attn/qkv', 'attn/o_proj', 'mlp/gate', 'mlp/up', 'mlp/down'].map((part) => `llama/layer${i}/${part}`),
  ).flat();
  const nodes = [
    ...tower('dinov2', 24),
    ...tower('siglip', 27),
    ...['siglip_pruner/instructionTopK', 'fuser/fc1', 'fuser/fc2', 'proprio/fc2', 'exchange0/dinov2/fc1'],
    ...llama,
    ...['head/model_trans/fc1', 'head/model_rot/fc1', 'head/model_grip/fc1'],
  ];
  const random = randomNumbers(9);
  const weights = nodes.map(
    (node) => (/mlp/.test(node) ? 3 : 1.4) * (0.9 + 0.2 * random()) * (node.startsWith('llama') ? 2.5 : 1),
  );
  const sum = weights.reduce((a, b) => a + b, 0);
  return nodes.map((name, i) => {
    const averageMs = (totalMs * weights[i]!) / sum;
    const block = blockOf(name, 'policy') ?? 'other';
    return {
      name,
      block,
      graph: 'policy',
      kind: 'Gemm',
      count: 200,
      averageMs,
      medianMs: averageMs * 0.99,
      percent: (100 * weights[i]!) / sum,
    };
  });
}

const runSeconds = (subjects: readonly SubjectResult[]): number =>
  Math.max(...subjects.map(({ chunks }) => chunks.at(-1)!.startMs / 1000));

const machine: MachineState = {
  temperatureLimits: [{ name: 'gpu', value: 99 }],
  board: 'NVIDIA Jetson AGX Orin Developer Kit',
  cpu: { model: 'Cortex-A78AE', cores: 12, governor: 'schedutil' },
  gpu: { name: 'Orin', computeCapability: '8.7', driver: '540.4.0', memoryBytes: 64 * 2 ** 30 },
  jetpack: 'L4T 36.4.3, JetPack 6.2',
  powerMode: 'MAXN',
  clocksLocked: false,
  clockRanges: [{ name: 'gpu', min: 306, max: 1301 }],
  os: 'Ubuntu 22.04.5 LTS, Linux 5.15.148-tegra',
  start: {
    at: '2026-01-02T10:00:00.000Z',
    temperatures: [
      { name: 'cpu', value: 48.2 },
      { name: 'gpu', value: 46.9 },
    ],
    clocks: [{ name: 'gpu', value: 1301 }],
    power: [{ name: 'VDD_GPU_SOC', value: 9.1 }],
    throttling: [],
    load: 0.12,
    memoryFreeBytes: 40e9,
  },
  end: {
    at: '2026-01-02T10:03:20.000Z',
    temperatures: [
      { name: 'cpu', value: 61 },
      { name: 'gpu', value: 63.4 },
    ],
    clocks: [{ name: 'gpu', value: 1198 }],
    power: [{ name: 'VDD_GPU_SOC', value: 31.5 }],
    throttling: [],
    load: 0.31,
    memoryFreeBytes: 22e9,
  },
  energy: {
    ...{ meanWatts: 38.4, joulesPerChunk: 4.2, samples: 198, source: 'tegrastats', turns: 1, ofTurns: 1 },
    ...{ chunks: 1000, seconds: 109, samplingMs: 100, sensorMs: 7, because: null },
  },
};

/** A board that warms, lowers its GPU clock once, and whose power monitor does not answer for a while. */
export function madeUpSeries(seconds: number, samples = 400): MachineSeries {
  const random = randomNumbers(31);
  const share = Array.from({ length: samples }, (_, i) => i / (samples - 1));
  const isSlowed = (at: number): boolean => at > 0.62 && at < 0.8;
  const sensor = (
    kind: SensorSeries['kind'],
    name: string,
    unit: string,
    of: (at: number) => number | null,
  ): SensorSeries => ({
    kind,
    name,
    unit,
    values: share.map(of),
  });
  const watts = (base: number, slow: number) => (at: number) =>
    at > 0.3 && at < 0.34 ? null : (isSlowed(at) ? slow : base) * (0.97 + 0.06 * random());
  const warm = (from: number, to: number) => (at: number) => from + (to - from) * (1 - Math.exp(-3 * at));
  return {
    atMs: share.map((at) => 1000 * (at * (seconds + 5) - 5)),
    startMonotonicMs: 5000,
    measuredFromMs: 0,
    sensors: [
      sensor('power', 'VDD_GPU_SOC', 'W', watts(31, 21)),
      sensor('power', 'VDD_CPU_CV', 'W', watts(4, 4)),
      sensor('power', 'VIN_SYS_5V0', 'W', watts(6, 6)),
      sensor('power', 'total', 'W', watts(41, 31)),
      sensor('clock', 'gpu', 'MHz', (at) => (isSlowed(at) ? 918 : 1300.5)),
      sensor('clock', 'cpu slowest', 'MHz', () => 729.6 + 100 * Math.floor(14 * random())),
      sensor('clock', 'cpu fastest', 'MHz', () => 2201.6),
      sensor('clock', 'emc', 'MHz', () => 3199),
      sensor('temperature', 'gpu', '°C', warm(46.9, 93)),
      sensor('temperature', 'tj', '°C', warm(48, 94)),
      sensor('temperature', 'cpu', '°C', warm(48.2, 71)),
      sensor('load', 'gpu', '%', () => 90 + 9 * random()),
      sensor('load', 'cpu', '%', () => 12 + 6 * random()),
    ],
    energyFrom: {
      sensor: 'total',
      periodMs: 7,
      words: "the sum of three rails, sampled from the board's power monitors",
    },
    throttling: [
      {
        reason: 'average over-current',
        fromMs: 1000 * (0.62 * (seconds + 5) - 5),
        toMs: 1000 * (0.8 * (seconds + 5) - 5),
      },
    ],
  };
}

/** A run of these subjects on a board that has its clocks free. */
export function madeUpReport(made: readonly MadeUpSubject[]): BenchReport {
  const subjects = made.map(subject);
  const [first, ...others] = subjects;
  const work = policyWork(presetArchitecture('libero'), { ...presetSizes('libero'), promptTokens: 30 });
  const policyMs = first!.summary.policy!.median;
  return {
    format: 'semanticvla-bench',
    version: 1,
    createdAt: '2026-01-02T10:03:21.000Z',
    command: ['semanticvla', 'bench', '--preset', 'libero', '--html', 'report.html'],
    software: { semanticvla: '0.1.0', node: '20.20.2', TensorRT: '10.3.0.26', CUDA: '12.6' },
    machine: { ...machine, series: madeUpSeries(runSeconds(subjects)) },
    selfCheck: {
      expectedMs: 5,
      measuredMs: 5.003,
      errorPercent: 0.06,
      overheadUs: 3.1,
      overheadPercent: 0.062,
      eventLoopDelay: summarize([0.4, 0.5, 0.6, 1.2, 0.4, 2.8]),
    },
    subjects,
    comparisons: others.map(({ subject: { name }, summary }) => {
      const ratio = first!.summary.total!.median / summary.total!.median;
      return {
        subject: name,
        baseline: first!.subject.name,
        ratio,
        low: ratio * 0.985,
        high: ratio * 1.016,
        confidence: 0.95,
        rounds: 40,
      };
    }),
    rooflines: {
      [first!.subject.name]: rooflineOf(work, findDevice('orin-agx-64'), {
        precision: 'bfloat16',
        measured: {
          policy: policyMs,
          vision: 0.24 * policyMs,
          fuser: 0.015 * policyMs,
          llm: 0.7 * policyMs,
          heads: 0.035 * policyMs,
        },
      }),
    },
    layers: { [first!.subject.name]: layersOf(policyMs * 1.08) },
    warnings: [
      {
        code: 'clocks-unlocked',
        text: 'The GPU clock moved between 306 and 1301 MHz: latency varies with it. Hold it with sudo jetson_clocks.',
      },
      {
        code: 'governor-powersave',
        text: 'The CPU governor is schedutil: host stages vary. Set it with sudo cpupower frequency-set -g performance.',
      },
    ],
  };
}

/** One subject with drift and outliers, and two faster and slower ones beside it. */
export const threeSubjects: readonly MadeUpSubject[] = [
  { name: 'libero tensorrt bfloat16', baseMs: 110, chunks: 1200, drift: 0.09 },
  { name: 'libero tensorrt int8 llm', baseMs: 71, chunks: 1200, outlierEvery: 401 },
  { name: 'libero tensorrt bfloat16, one camera', baseMs: 109, chunks: 1200, outlierEvery: 260 },
];
