/**
 * The result of a measurement: the contract between measuring (`bench`, `profile`), judging (the regression gate) and presenting
 * (tables, exports, the HTML report). Only types of plain JSON; no behaviour. Times are in milliseconds on the monotonic clock,
 * counted from the start of the run, unless a name says otherwise.
 */

import type { MachineState, SubjectEnergy, Warning } from '../machine/types.ts';
import type { stageNames } from './stages.ts';

/** Statistics of one series. Percentiles follow trtexec's rule (lib/profile/measure/percentiles.ts). No value is left out. */
export interface Summary
  extends Readonly<Record<'count' | 'min' | 'max' | 'mean' | 'median' | 'p90' | 'p95' | 'p99', number>> {
  /** Further percentiles, if any were requested, by number: `{"99.9": 12.3}`. */
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

/** One measured action chunk. */
export interface ChunkRecord {
  /** When the chunk was requested. */
  readonly startMs: number;
  readonly stages: StageTimes;
  /** The turn in which it was measured: subjects of one run take turns, and chunks of one turn are neighbours in time. */
  readonly round?: number;
}

/** What was measured, in the words that a table shows. */
export interface SubjectFacts {
  /** Unique in a report: `libero cpu float32`, or as the user named it. */
  readonly name: string;
  /** `SemanticVLA`, `OpenVLA-OFT+`, ... */
  readonly variant: string;
  /** Folder as given, or `preset libero`. */
  readonly source: string;
  readonly backend: 'cpu' | 'tensorrt';
  /** Library and version that runs the graphs: `ONNX Runtime 1.30.0`, `TensorRT 10.3.0.26`. */
  readonly runtime: string;
  readonly precision: 'float32' | 'bfloat16' | 'float16' | 'int8' | 'int8-llm' | 'fp8';
  /** How the weights are held: folded, mapped, bound, baked. */
  readonly weights: string;
  /** P: Llama tokens of the prompt, without the stop token. */
  readonly promptTokens: number;
  readonly cameras: readonly string[];
  readonly chunk: number;
  readonly actionDim: number;
  readonly parameters: number;
  readonly threads: number | null;
  /** Size of the camera frames, in pixels. */
  readonly frame?: { readonly width: number; readonly height: number };
  /** The instruction used. */
  readonly instruction?: string;
}

/** Everything measured for one subject. */
export interface SubjectResult {
  readonly subject: SubjectFacts;
  /** The first times in this process: loading, encoding the instruction, the first chunk. */
  readonly cold: { readonly loadMs: number; readonly instructionMs: number; readonly firstChunkMs: number };
  /** Whether the steady-state rule was met before the limit; `because`: the rule and what was seen, in one sentence. */
  readonly warmUp: {
    readonly chunks: number;
    readonly ms: number;
    readonly stable: boolean;
    readonly because: string;
  };
  /** Every chunk after warm-up, in the order measured, including outliers. */
  readonly chunks: readonly ChunkRecord[];
  /**
   * Chunks whose instruction, of the same length, had not been encoded before: those with `tokenize` and `instruction`.
   * They are measured in between but kept apart, since a robot rarely changes its task.
   */
  readonly newInstruction?: readonly ChunkRecord[];
  /** By stage; `tokenize` and `instruction` are of `newInstruction`, all others of `chunks`. */
  readonly summary: Readonly<Partial<Record<StageName, Summary>>>;
  /** Chunks per second over the time this subject ran: one after the other, or at the ticks of `rhythm`. */
  readonly throughput: number;
  /**
   * Present where chunks were asked for at a fixed rate, as a robot's loop does: the ticks' rate in Hz, and the number of ticks
   * missed because the chunk before was still being computed.
   */
  readonly rhythm?: { readonly rateHz: number; readonly missed: number };
  /** Largest resident memory of the process while this subject ran, in bytes; null if it was shared with other subjects. */
  readonly peakMemoryBytes: number | null;
  readonly energy?: SubjectEnergy;
}

/** What plots of latency and the regression gate need of a subject, whether it ran in this process or behind a server. */
export interface Timed extends Pick<SubjectResult, 'chunks' | 'newInstruction' | 'summary' | 'throughput'> {
  readonly subject: Pick<SubjectFacts, 'name'>;
}

/** Ends of a confidence interval, and its confidence, e.g. 0.95. */
export interface Confident {
  readonly low: number;
  readonly high: number;
  readonly confidence: number;
}

/** The comparison of two subjects that alternated in one run. */
export interface Comparison extends Confident {
  readonly subject: string;
  readonly baseline: string;
  /** Baseline median / subject median: above 1, the subject is faster. */
  readonly ratio: number;
  /** Number of rounds in which both were measured, one after the other. */
  readonly rounds: number;
}

/** Checks the recorder against a busy-wait of known length (lib/profile/measure/selfCheck.ts). */
export interface SelfCheck {
  readonly expectedMs: number;
  readonly measuredMs: number;
  readonly errorPercent: number;
  /** What recording one chunk costs, in microseconds. */
  readonly overheadUs: number;
  /** The same in percent of a 5 ms chunk. */
  readonly overheadPercent: number;
  /** Delay of the event loop during the measurement, apart from inference. */
  readonly eventLoopDelay: Summary;
  /** Whether the error is within 1 % and the overhead below 1 % of a 5 ms chunk. */
  readonly passed?: boolean;
  /** The clock used by the busy-wait: `CLOCK_MONOTONIC_RAW`, `cntvct_el0 at 1000 MHz`. */
  readonly clock?: string;
  readonly trials?: number;
}

/** The regression gate's verdict on one condition. */
export interface GateVerdict extends Confident {
  /** As written: `p50 > 1.05x`. A condition states what must not happen. */
  readonly condition: string;
  readonly subject: string;
  /** The subject or file it was compared with; null for a limit in absolute units. */
  readonly baseline: string | null;
  /** `noisy`: the limit lies inside the interval, so neither can be said. */
  readonly outcome: 'pass' | 'fail' | 'noisy';
  /** Value of the condition's left side: a ratio, milliseconds, or chunks per second. */
  readonly value: number;
  readonly limit: number;
  /** The verdict in one sentence for people. */
  readonly because: string;
}

/** How long something took per run, and its share. */
export interface Share {
  readonly averageMs: number;
  readonly medianMs: number;
  /**
   * Of the sum of the medians of all layers of the graph: shares add up to 100, and a single interrupted run does not change
   * them.
   */
  readonly percent: number;
}

/** One layer or kernel of a profile. */
export interface LayerTime extends Share {
  /** The runtime's name for it. */
  readonly name: string;
  /** The part of the policy it belongs to: `siglip block 11`, `llama layer 3 mlp`, `pruner`, `action head`. */
  readonly block: string;
  /** Which of the two graphs it is in. */
  readonly graph: 'instruction' | 'policy';
  /** The operator or kernel. */
  readonly kind: string;
  readonly count: number;
}

/** The work of one stage of the policy, computed from the graph, compared with a device's peaks. */
export interface RooflineRow {
  /**
   * `instruction` (once per instruction), `vision`, `pruner`, `fuser`, `llm`, `heads`; `policy`: a whole chunk, whose limit is
   * the sum of theirs.
   */
  readonly stage: string;
  /** Floating-point operations; a multiply-add counts as two. */
  readonly flops: number;
  /** Bytes of weights, and bytes of activations that must go through memory. */
  readonly weightBytes: number;
  readonly activationBytes: number;
  /** max(flops / peak, weight bytes / bandwidth). Activations are only listed, since caches hold much of them. */
  readonly limitMs: number;
  readonly boundBy: 'compute' | 'memory';
  /** The measured time, and limit / measured; null if the stage was not measured. */
  readonly measuredMs: number | null;
  readonly fraction: number | null;
  /** Peak that applies to this stage's arithmetic; absent for `policy`, whose stages may differ. */
  readonly peakTflops?: number;
}

/** Whether a policy's weights fit into a device's memory. */
export interface RooflineMemory {
  /** All weights of both graphs in this precision, including whole embedding tables. */
  readonly neededBytes: number;
  readonly deviceBytes: number;
  readonly fits: boolean;
}

/** Limits by stage, with measured times where there are any. */
export interface Roofline {
  readonly device: string;
  readonly precision: string;
  readonly peakTflops: number;
  readonly bandwidthGBs: number;
  /** Where the peaks are published. */
  readonly source: string;
  readonly rows: readonly RooflineRow[];
  readonly limitMs: number;
  readonly memory?: RooflineMemory;
}

/** What every report has. */
interface ReportHead {
  readonly version: 1;
  /** ISO 8601. */
  readonly createdAt: string;
  /** During the run. */
  readonly machine: MachineState;
  readonly warnings: readonly Warning[];
}

/** What `bench --report` writes, and what the report and the gate read. */
export interface BenchReport extends ReportHead {
  readonly format: 'semanticvla-bench';
  readonly command: readonly string[];
  readonly software: Readonly<Record<string, string>>;
  readonly selfCheck: SelfCheck;
  readonly subjects: readonly SubjectResult[];
  readonly comparisons: readonly Comparison[];
  /** By subject name. */
  readonly rooflines: Readonly<Record<string, Roofline>>;
  /** By subject name; measured in a separate run, since a profiler slows what it watches. */
  readonly layers: Readonly<Record<string, readonly LayerTime[]>>;
  /** Present with `--fail-if`. */
  readonly gate?: readonly GateVerdict[];
}

/** A main part of the policy: `instruction`, `vision`, `pruner`, `fuser`, `llm`, `heads`, `other` (layers/blocks.ts). */
export interface StageShare extends Share {
  readonly stage: string;
}

/** All layers of one block. */
export interface BlockTime extends StageShare {
  readonly block: string;
  readonly graph: 'instruction' | 'policy';
  /** How many layers of the runtime belong to it. */
  readonly layers: number;
}

/** One of the two graphs, measured with the runtime's profiler and without it in the same process. */
export interface GraphProfile {
  readonly graph: 'instruction' | 'policy';
  /** Number of runs after warm-up. */
  readonly runs: number;
  /** Median time of a run without the profiler, and with it; the runs alternated. */
  readonly plainMs: number;
  readonly profiledMs: number;
  /** profiledMs / plainMs: what profiling costs. */
  readonly slowDown: number;
  /** Median over runs of the sum of all layers. */
  readonly layerMs: number;
  /** Median time of a run outside its layers: work of the runtime between them, and of the profiler. */
  readonly betweenMs: number;
  /** Percent of the layers' time that belongs to a named block; the rest is block `other`. */
  readonly attributedPercent: number;
  readonly blocks: readonly BlockTime[];
  readonly stages: readonly StageShare[];
}

/** What `profile --json` writes. */
export interface ProfileReport extends ReportHead {
  readonly format: 'semanticvla-profile';
  readonly variant: string;
  readonly source: string;
  readonly backend: 'cpu' | 'tensorrt';
  /** Library and version that runs the graphs. */
  readonly runtime: string;
  readonly threads: number | null;
  readonly promptTokens: number;
  readonly cameras: readonly string[];
  readonly iterations: number;
  /** Whether runs with and without the profiler alternated; if not, one kind came first (on a device, to hold weights once). */
  readonly takesTurns: boolean;
  /** The policy graph first. */
  readonly graphs: readonly GraphProfile[];
  /** In the order in which they ran, those of the policy graph first. */
  readonly layers: readonly LayerTime[];
  /** Medians of the host's stages around the graphs, without the profiler. */
  readonly stages: StageTimes;
}
