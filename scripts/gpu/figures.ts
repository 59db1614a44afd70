/** The file of figures: what each stage of `npm run gpu` found. It is written after each of them, and a later run goes on from it. */

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { StageName } from './context.ts';

export interface GoldenRow {
  readonly golden: string;
  readonly sample: string;
  readonly graphs: boolean;
  /** Of the normalized actions, max abs. */
  readonly difference: number;
  readonly allowed: number;
  /** The CPU's patches. In low precision a near tie may fall the other way; then actions are not comparable. */
  readonly samePatches: boolean;
  readonly passed: boolean;
}

/** Frames in host memory to actions in host memory; milliseconds. */
export interface LatencyRow {
  readonly what: string;
  readonly runs: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  /** Medians by the device's clock; null on the CPU. */
  readonly h2d: number | null;
  readonly compute: number | null;
  readonly d2h: number | null;
  readonly enqueue: number | null;
  readonly loadMs: number;
  readonly firstChunkMs: number;
  /** Of the device at hand (lib/profile/roofline); null: its peaks are not listed. */
  readonly limitMs: number | null;
  /** Median of the first row / this one's, with its 95 % interval, where both took turns. */
  readonly ratio?: { readonly value: number; readonly low: number; readonly high: number };
}

export interface BlockRow {
  readonly graph: string;
  readonly block: string;
  readonly layers: number;
  readonly medianMs: number;
  readonly percent: number;
}

/** One sensor of the machine over a run (lib/machine). */
export interface SensorRow {
  readonly sensor: string;
  readonly unit: string;
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

export interface StageResult {
  readonly facts?: Readonly<Record<string, string>>;
  /** JSON lines of a program. */
  readonly lines?: readonly Readonly<Record<string, unknown>>[];
  readonly goldens?: readonly GoldenRow[];
  readonly latency?: readonly LatencyRow[];
  readonly blocks?: readonly BlockRow[];
  readonly sensors?: readonly SensorRow[];
  /** Sentences of lib/profile: what a reader must know before believing a number. */
  readonly warnings?: readonly string[];
}

export interface StageRecord {
  /** `running`: that run has ended without saying how. */
  readonly status: 'running' | 'passed' | 'failed' | 'skipped';
  readonly attempts: number;
  readonly seconds: number;
  /** ISO 8601, when it began. */
  readonly at: string;
  /** Why it failed or was skipped. */
  readonly reason?: string;
  /** Process group of a running stage. */
  readonly pid?: number;
  /** Of a failed stage: what it had found by then. */
  readonly result?: StageResult;
}

export interface Figures {
  readonly format: 'semanticvla-gpu';
  readonly version: 1;
  /** On the CPU, to try the plan: no figure of it says anything about a GPU. */
  readonly rehearsal: boolean;
  readonly stages: Partial<Record<StageName, StageRecord>>;
}

/** @throws OPTION_INVALID when the file is something else, or of a rehearsal where a measurement is wanted, or the reverse */
export function readFigures(file: string, rehearsal: boolean): Figures {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return { format: 'semanticvla-gpu', version: 1, rehearsal, stages: {} };
  }
  const figures = parse(text);
  if (figures?.format !== 'semanticvla-gpu' || figures.version !== 1) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `${file}: expected figures of npm run gpu, found something else. Name another folder with --out.`,
    );
  }
  if (figures.rehearsal !== rehearsal) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `${file}: expected figures ${rehearsal ? 'of a rehearsal' : 'measured on a GPU'}, found ${rehearsal ? 'measured ones' : 'those of a rehearsal'}. Name another folder with --out.`,
    );
  }
  return figures;
}

function parse(text: string): Figures | null {
  try {
    return JSON.parse(text) as Figures;
  } catch {
    return null;
  }
}

/** In one step: a reader, or a run that follows a crash, finds the old or the new figures. */
export function writeJson(file: string, value: unknown): void {
  const partial = `${file}.${process.pid}`;
  writeFileSync(partial, `${JSON.stringify(value, null, 1)}\n`);
  renameSync(partial, file);
}
