/**
 * Layer times and layer facts as trtexec writes them (--exportProfile, --exportLayerInfo), so that what reads those reads
 * ours. Fields and their order are those of TensorRT's public samples (sampleReporting.cpp) and of its engine inspector.
 */

import type { GraphRun, LayerTensor } from '../layers/layerRuns.ts';
import type { LayerTime } from '../types.ts';

/**
 * @param layers of one graph, in the order in which they ran
 * @param runs how many runs were counted
 * @returns `[{count}, {name, timeMs, averageMs, medianMs, percentage}, ...]`; percentages of the total time, as trtexec's
 */
export function trtexecProfile(layers: readonly LayerTime[], runs: number): readonly object[] {
  const totalMs = layers.reduce((sum, { averageMs }) => sum + averageMs, 0);
  return [
    { count: runs },
    ...layers.map(({ name, averageMs, medianMs }) => ({
      name,
      timeMs: averageMs * runs,
      averageMs,
      medianMs,
      percentage: totalMs > 0 ? (100 * averageMs) / totalMs : 0,
    })),
  ];
}

export interface Binding {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly (number | string)[];
}

/**
 * The inspector's form, from what a runtime without one says of its nodes. `Bindings` holds the names of inputs and outputs,
 * as TensorRT 10 writes it.
 */
export function layerInfo(run: GraphRun, bindings: readonly Binding[]): object {
  return {
    Layers: run.layers.map(({ name, kind, metadata, inputs, outputs }) => ({
      Name: name,
      LayerType: kind,
      Inputs: inputs.map((tensor, i) => tensorInfo(`${name}:in${i}`, tensor)),
      Outputs: outputs.map((tensor, i) => tensorInfo(i === 0 ? name : `${name}:${i}`, tensor)),
      TacticName: '',
      StreamId: 0,
      Metadata: metadata,
    })),
    Bindings: bindings.map(({ name }) => name),
  };
}

function tensorInfo(name: string, { type, dims }: LayerTensor): object {
  return { Name: name, Location: 'Host', Dimensions: dims, 'Format/Datatype': type };
}
