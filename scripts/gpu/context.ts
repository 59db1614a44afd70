/** What a run of `npm run gpu` is about, and the names of its stages. Types only. */

import type { GoldenName } from '../../test/helpers/goldenCase.ts';

/** What a run is about; passed to the steps as JSON. */
export interface Context {
  readonly root: string;
  /** Folder of the figures. */
  readonly out: string;
  /** Where checkpoints and engines go. */
  readonly work: string;
  /** With the tiny preset and the kernels' stand-in for CUDA; `backend` is ONNX Runtime, or TensorRT's stand-in (test/standin). */
  readonly rehearsal: boolean;
  readonly backend: 'tensorrt' | 'cpu';
  readonly goldens: readonly GoldenName[];
  readonly runs: number;
  readonly warmUps: number;
  /** Programs, addon and TensorRT were brought along: nothing is compiled or fetched. */
  readonly prepared: boolean;
  /** A Jetson, which is checked first. */
  readonly board: boolean;
}

export type StageName =
  | 'board'
  | 'machine'
  | 'compiler'
  | 'compile'
  | 'kernels'
  | 'session'
  | 'memcheck'
  | 'racecheck'
  | 'synccheck'
  | 'initcheck'
  | 'build'
  | 'tensorrt'
  | 'goldens'
  | 'first'
  | 'checkpoint'
  | 'latency'
  | 'baked'
  | 'layers'
  | 'torch';
