/**
 * The result of a measurement: the contract between measuring (`bench`, `profile`), judging (the regression gate) and showing
 * (tables, exports, the HTML report). Only types of plain JSON; no behaviour. Times are milliseconds on the
 * monotonic clock, counted from the start of the run, unless a name says otherwise.
 */

import type { stageNames } from './stages.ts';

/** Statistics of one series. Percentiles by trtexec's rule (lib/profile/measure/percentiles.ts). No value is left out. */
export interface Summary {
  readonly count: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly median: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  /** Further percentiles that were asked for, by number: `{"99.9": 12.3}`. */
  readonly percentiles?: Readonly<Record<string, number>>;
}

/**
 * Where the time of a chunk goes. `total` is end to end: frames in host memory to actions in host memory. Stages may
 * overlap (tokenizing runs while images are resized) and a stage that did not run is not there.
 *
 * host      decode, resize, crop, tokenize, normalize, unnormalize; preprocess is decode + resize + crop together;
 *           preprocessOnDevice in its place where the device preprocesses: handing the frames over, the rest is compute
 * runtime   instruction (the instruction graph), policy (the policy graph, host's view), enqueue, h2d, compute, d2h
 */
export type StageName = (typeof stageNames)[number];

/** Milliseconds by stage of one chunk. */
export type StageTimes = Readonly<Partial<Record<StageName, number>>>;

/** One action chunk that was measured. */
export interface ChunkRecord {
  /** When it was asked for. */
  readonly startMs: number;
  readonly stages: StageTimes;
  /** The turn it was measured in; subjects of one run take turns, and chunks of one turn are neighbours in time. */
  readonly round?: number;
}

/** What was measured, in the words a table needs. */
export interface SubjectFacts {
  /** Unique in a report: `libero cpu float32`, or as the user named it. */
  readonly name: string;
  /** `SemanticVLA`, `OpenVLA-OFT+`, ... */
  readonly variant: string;
  /** Folder as given, or `preset libero`. */
  readonly source: string;
  readonly backend: 'cpu' | 'tensorrt';
  /** Library and version that computes: `ONNX Runtime 1.30.0`, `TensorRT 10.3.0.26`. */
  readonly runtime: string;
  readonly precision: 'float32' | 'bfloat16' | 'float16';
  /** How the weights are held: folded, mapped, bound, baked. */
  readonly weights: string;
  /** P, Llama tokens of the prompt without the stop token. */
  readonly promptTokens: number;
  readonly cameras: readonly string[];
  readonly chunk: number;
  readonly actionDim: number;
  readonly parameters: number;
  readonly threads: number | null;
  /** Size of the camera frames that were given, pixels. */
  readonly frame?: { readonly width: number; readonly height: number };
  /** The sentence that was measured. */
  readonly instruction?: string;
}

/** Everything that was measured of one subject. */
export interface SubjectResult {
  readonly subject: SubjectFacts;
  /** The first time in this process: load, the instruction, the first chunk. */
  readonly cold: { readonly loadMs: number; readonly instructionMs: number; readonly firstChunkMs: number };
  readonly warmUp: {
    readonly chunks: number;
    readonly ms: number;
    /** Whether the rule for a steady state was met before the limit. */
    readonly stable: boolean;
    /** The rule and what was seen, in one sentence. */
    readonly because: string;
  };
  /** Every chunk after warm-up in the order measured; outliers stay. */
  readonly chunks: readonly ChunkRecord[];
  /**
   * Chunks that began a sentence of the same length that was not encoded before: the ones with `tokenize` and
   * `instruction`. Measured between the others and apart from them, since a robot changes its task rarely.
   */
  readonly newInstruction?: readonly ChunkRecord[];
  /** By stage; `tokenize` and `instruction` are of `newInstruction`, everything else of `chunks`. */
  readonly summary: Readonly<Partial<Record<StageName, Summary>>>;
  /** Chunks a second, one after the other, over the time this subject ran. */
  readonly throughput: number;
  /** Largest resident memory of the process while it ran, bytes; null where it is shared with other subjects. */
  readonly peakMemoryBytes: number | null;
  readonly energy?: SubjectEnergy;
}

/** Two subjects that alternated in one run. */
export interface Comparison {
  readonly subject: string;
  readonly baseline: string;
  /** baseline median / subject median: above 1, the subject is faster. */
  readonly ratio: number;
  /** Interval of the ratio, see `confidence`. */
  readonly low: number;
  readonly high: number;
  /** e.g. 0.95 */
  readonly confidence: number;
  /** Rounds in which both were measured, one after the other. */
  readonly rounds: number;
}

/** One thing the reader must know before believing a number. */
export interface Warning {
  /** Stable, kebab-case: `clocks-unlocked`, `throttled`, `warm-up-short`, `background-load`, `governor-powersave`, ... */
  readonly code: string;
  /** What was seen, how it affects the numbers, and the command that changes it. */
  readonly text: string;
}

/** A sensor that was read at a moment. */
export interface Reading {
  readonly name: string;
  readonly value: number;
}

/** The machine at one moment. Fields that the board does not report are null, never guessed. */
export interface MachineSnapshot {
  readonly at: string;
  /** Degrees Celsius by zone. */
  readonly temperatures: readonly Reading[];
  /** MHz by clock domain (`cpu0`, `gpu`, `emc`). */
  readonly clocks: readonly Reading[];
  /** Watts by rail, `total` where the board reports its input. */
  readonly power: readonly Reading[];
  /** Names of throttle reasons or alarms that were active. */
  readonly throttling: readonly string[];
  /** Load average of the last minute per core. */
  readonly load: number | null;
  /** Share of the time that a part was busy, percent: `gpu`, `gpu-memory`, `emc`. As far as the board reports them. */
  readonly loads?: readonly Reading[];
  readonly memoryFreeBytes: number | null;
  /** Counts since boot, whose growth over a run shows what happened in it: `oc3_event_cnt`, `cpu-busy`, `cpu-steal` (seconds). */
  readonly counters?: readonly Reading[];
  /** What tools of the board printed that was passed over (words that are not known) or refused (a cut line); absent: nothing. */
  readonly unread?: readonly string[];
}

/** The range that a clock may move in, or did; equal ends: it is held. MHz. */
export interface ClockRange {
  /** As in `MachineSnapshot.clocks`. */
  readonly name: string;
  readonly min: number;
  readonly max: number;
}

/** What was sampled while a run went on. */
export interface MachineSampling {
  readonly samples: number;
  readonly intervalMs: number;
  /** What one sample takes on the sampling thread, milliseconds (mean); most of it is waiting for a bus. */
  readonly costMs: number;
  /** Share of one core that all took, percent: processor time where the kernel reports it, else the time of the samples. */
  readonly costPercent: number;
  readonly costIs?: 'processor time' | 'elapsed time';
  /** Share of all cores that other processes took, percent; null where it is unknown. */
  readonly othersPercent: number | null;
  /** Of these, the busiest by name, percent of one core. */
  readonly others: readonly Reading[];
}

/** One sensor over a run. */
export interface SensorSeries {
  /** `load`: share of the time that it was busy. */
  readonly kind: 'power' | 'clock' | 'temperature' | 'load';
  /** `VDD_GPU_SOC`, `total`, `gpu`, `cpu slowest`, `cpu fastest`, `emc`, `tj`, ... */
  readonly name: string;
  /** `W`, `MHz`, `°C`, `%` */
  readonly unit: string;
  /** At the times of `MachineSeries.atMs`; null: not read, or nothing that this sensor can have measured. */
  readonly values: readonly (number | null)[];
}

/** The sensors while a run went on, read on a thread of its own. */
export interface MachineSeries {
  /** Milliseconds since the start of the run, as `ChunkRecord.startMs`; ascending. Before 0: loading and warm-up. */
  readonly atMs: readonly number[];
  /** CLOCK_MONOTONIC at 0, milliseconds. */
  readonly startMonotonicMs: number;
  /** When the first chunk that counts began; before it there was warm-up. */
  readonly measuredFromMs?: number;
  readonly sensors: readonly SensorSeries[];
  /**
   * The power sensor that energy is computed from, in words with what it leaves out, and how often it has a new value,
   * milliseconds (null: unknown). null: there is no power sensor.
   */
  readonly energyFrom: {
    readonly sensor: string;
    readonly words: string;
    readonly periodMs: number | null;
  } | null;
  /** Alarms and throttle reasons, from the first sample that saw one to the last. */
  readonly throttling: readonly { readonly reason: string; readonly fromMs: number; readonly toMs: number }[];
  /** Samples that were not taken over since time had not gone on, and values that no such sensor can have. */
  readonly refused: { readonly times: number; readonly values: number };
  /** As `MachineSnapshot.unread`, each text once. */
  readonly unread?: readonly string[];
}

/** Energy of one subject, from the turns in which it ran alone. */
export interface SubjectEnergy {
  /** null: unknown, and `because` says why. */
  readonly joulesPerChunk: number | null;
  readonly meanWatts: number | null;
  /** The sensor, and what it leaves out. */
  readonly source: string | null;
  /** Turns that were long enough and without a gap, of how many. */
  readonly turns: number;
  readonly ofTurns: number;
  /** Chunks and seconds of these turns, and the samples inside them. */
  readonly chunks: number;
  readonly seconds: number;
  readonly samples: number;
  /** Milliseconds between two samples (median), and of the sensor's own values. */
  readonly samplingMs: number | null;
  readonly sensorMs: number | null;
  readonly because: string | null;
}

/** What the machine is, and how it was at the start and the end of a run. */
export interface MachineState {
  /** `NVIDIA Jetson AGX Orin Developer Kit`, or the product name of the machine. */
  readonly board: string;
  readonly cpu: { readonly model: string; readonly cores: number; readonly governor: string | null };
  readonly gpu: {
    readonly name: string;
    readonly computeCapability: string | null;
    readonly driver: string | null;
    readonly memoryBytes: number | null;
  } | null;
  /** `L4T 36.4.3, JetPack 6.2`; null where it is no Jetson. */
  readonly jetpack: string | null;
  /** `MAXN`, `15W`; null where the board has none. */
  readonly powerMode: string | null;
  /** null where it is unknown. */
  readonly clocksLocked: boolean | null;
  readonly clockRanges?: readonly ClockRange[];
  /** Degrees Celsius at which the machine slows down, by zone. */
  readonly temperatureLimits?: readonly Reading[];
  /** `KVM`, `container`; null: neither is visible. */
  readonly virtual?: string | null;
  /** Runs on its battery; null: it has none, or does not tell. */
  readonly onBattery?: boolean | null;
  readonly os: string;
  readonly start: MachineSnapshot;
  readonly end: MachineSnapshot | null;
  /** Of the whole run and all its chunks, warm-up included; null where it is unknown. */
  readonly energy: SubjectEnergy | null;
  readonly sampling?: MachineSampling | null;
  /** null: nothing was sampled. */
  readonly series?: MachineSeries | null;
}

/** The recorder against a known busy-wait (lib/profile/measure/selfCheck.ts). */
export interface SelfCheck {
  readonly expectedMs: number;
  readonly measuredMs: number;
  readonly errorPercent: number;
  /** What recording one chunk costs, microseconds. */
  readonly overheadUs: number;
  /** That as a share of a 5 ms chunk, percent. */
  readonly overheadPercent: number;
  /** Event-loop delay while measuring, apart from inference. */
  readonly eventLoopDelay: Summary;
  /** Within 1 % and below 1 % of a 5 ms chunk. */
  readonly passed?: boolean;
  /** The clock that the busy-wait ran on: `CLOCK_MONOTONIC_RAW`, `cntvct_el0 at 1000 MHz`. */
  readonly clock?: string;
  readonly trials?: number;
}

/** What the regression gate said about one condition. */
export interface GateVerdict {
  /** As written: `p50 > 1.05x`. A condition says what must not be. */
  readonly condition: string;
  readonly subject: string;
  /** Name of the subject or file that it was compared with; null for a limit in milliseconds. */
  readonly baseline: string | null;
  /** `noisy`: the interval holds the limit, so neither can be said. */
  readonly outcome: 'pass' | 'fail' | 'noisy';
  /** Value of the condition's left side: a ratio, or milliseconds, or chunks a second. */
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly limit: number;
  readonly confidence: number;
  /** One sentence for people. */
  readonly because: string;
}

/** One layer or kernel of a profile. */
export interface LayerTime {
  /** As the runtime names it. */
  readonly name: string;
  /** The policy's own block: `siglip block 11`, `llama layer 3 mlp`, `pruner`, `action head`. */
  readonly block: string;
  /** Which of the two graphs. */
  readonly graph: 'instruction' | 'policy';
  /** What runs: operator or kernel. */
  readonly kind: string;
  readonly count: number;
  readonly averageMs: number;
  readonly medianMs: number;
  readonly percent: number;
}

/** Work of one stage of the policy, computed from the graph, against a device's peaks. */
export interface RooflineRow {
  /**
   * `instruction` (once a sentence), `vision`, `pruner`, `fuser`, `llm`, `heads`; `policy`: all of a chunk, whose limit is
   * the sum of theirs.
   */
  readonly stage: string;
  /** Floating-point operations, a multiply-add counted as two. */
  readonly flops: number;
  /** Bytes of weights, and of activations that must go through memory. */
  readonly weightBytes: number;
  readonly activationBytes: number;
  /** max(flops / peak, weight bytes / bandwidth); activations are stated only, since caches keep much of them. */
  readonly limitMs: number;
  readonly boundBy: 'compute' | 'memory';
  /** What was measured, and limit / measured; null where the stage was not measured. */
  readonly measuredMs: number | null;
  readonly fraction: number | null;
  /** Peak that this stage's arithmetic has; absent for `policy`, whose stages may differ. */
  readonly peakTflops?: number;
}

/** Whether a policy's weights are at home on a device. */
export interface RooflineMemory {
  /** All weights of both graphs, whole embedding tables included, in this precision. */
  readonly neededBytes: number;
  readonly deviceBytes: number;
  readonly fits: boolean;
}

/** Limits by stage, with what was measured where something was. */
export interface Roofline {
  readonly device: string;
  readonly precision: string;
  readonly peakTflops: number;
  readonly bandwidthGBs: number;
  /** Where the peaks were read. */
  readonly source: string;
  readonly rows: readonly RooflineRow[];
  readonly limitMs: number;
  readonly memory?: RooflineMemory;
}

/** What `bench --report` and `profile --json` write, and the report and the gate read. */
export interface BenchReport {
  readonly format: 'semanticvla-bench';
  readonly version: 1;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly command: readonly string[];
  readonly software: Readonly<Record<string, string>>;
  readonly machine: MachineState;
  readonly selfCheck: SelfCheck;
  readonly subjects: readonly SubjectResult[];
  readonly comparisons: readonly Comparison[];
  /** By subject name. */
  readonly rooflines: Readonly<Record<string, Roofline>>;
  /** By subject name; from a run of its own, since a profiler slows what it watches. */
  readonly layers: Readonly<Record<string, readonly LayerTime[]>>;
  readonly warnings: readonly Warning[];
  /** With `--fail-if`. */
  readonly gate?: readonly GateVerdict[];
}

/**
 * All layers of one block, a run. Percentages here and of `LayerTime` are shares of the sum over all layers of the graph of
 * their medians: they add up to 100, and one interrupted run moves none of them.
 */
export interface BlockTime {
  readonly block: string;
  /** `instruction`, `vision`, `pruner`, `fuser`, `llm`, `heads`, `other` (lib/profile/layers/blocks.ts). */
  readonly stage: string;
  readonly graph: 'instruction' | 'policy';
  /** Layers of the runtime that belong to it. */
  readonly layers: number;
  readonly averageMs: number;
  readonly medianMs: number;
  readonly percent: number;
}

export interface StageShare {
  readonly stage: string;
  readonly averageMs: number;
  readonly medianMs: number;
  readonly percent: number;
}

/** One of the two graphs under the runtime's profiler, and without it in the same run of the program. */
export interface GraphProfile {
  readonly graph: 'instruction' | 'policy';
  /** Runs after warm-up. */
  readonly runs: number;
  /** Median of a run without the profiler, and with it: the runs took turns. */
  readonly plainMs: number;
  readonly profiledMs: number;
  /** profiledMs / plainMs: what watching costs. */
  readonly slowDown: number;
  /** Median of the sum over all layers of a run. */
  readonly layerMs: number;
  /** Median time of a run outside its layers: the runtime's work between them, and the profiler's. */
  readonly betweenMs: number;
  /** Share of the layers' time that has a block; the rest is block `other`. */
  readonly attributedPercent: number;
  readonly blocks: readonly BlockTime[];
  readonly stages: readonly StageShare[];
}

/** What `profile --json` writes. */
export interface ProfileReport {
  readonly format: 'semanticvla-profile';
  readonly version: 1;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly variant: string;
  readonly source: string;
  readonly backend: 'cpu' | 'tensorrt';
  /** Library and version that computes. */
  readonly runtime: string;
  readonly threads: number | null;
  readonly promptTokens: number;
  readonly cameras: readonly string[];
  readonly iterations: number;
  /** Runs with and without the profiler alternated; else one kind came after the other (on a device, to hold weights once). */
  readonly takesTurns: boolean;
  /** Policy first. */
  readonly graphs: readonly GraphProfile[];
  /** In the order in which they ran, the policy graph's first. */
  readonly layers: readonly LayerTime[];
  /** Medians of the host's stages around the graphs, without the profiler. */
  readonly stages: StageTimes;
  /** While it ran. */
  readonly machine: MachineState;
  readonly warnings: readonly Warning[];
}
