/**
 * The Open Inference Protocol, version 2, on the port of `POST /act`: health, metadata, inference. The server has one model from
 * start to end, so nothing can be loaded or unloaded.
 */

import type { Policy } from '../types.ts';
import type { HttpAnswer } from './httpAnswer.ts';
import type { Page, Realm } from './httpServer.ts';
import { inferPage } from './inferPage.ts';
import { type ObservationKeys, requestKeys } from './observationMap.ts';
import { InferCounts, modelName, modelVersion, oipFailure, oipForm } from './oipForm.ts';
import type { PolicyService } from './policyService.ts';

/** Where errors have the protocol's form. */
export const oipRealm: Realm = {
  prefix: '/v2',
  nothing: `Nothing is here. The one model is ${modelName}, version ${modelVersion}; models are neither loaded nor unloaded, and there is no shared memory, tracing or logging.`,
  failure: oipFailure,
};

interface Tensor {
  readonly name: string;
  readonly datatype: string;
  /** -1: any. */
  readonly shape: readonly number[];
}

export function oipPages(service: PolicyService, policy: Policy, keys: ObservationKeys): [string, Page][] {
  const counts = new InferCounts();
  const json = (value: unknown): HttpAnswer => ({ status: 200, text: JSON.stringify(value) });
  const get = (answer: () => HttpAnswer, isOpen = false): Page => ({ method: 'GET', isOpen, answer });
  const live = get(() => json({ live: true }), true);
  const ready = get(() => ({ ...json({ ready: service.ready }), status: service.ready ? 200 : 503 }), true);

  const { platform, dimensions, stateSize = -1 } = policy;
  const { cameras, state, instruction } = requestKeys(policy, keys);
  const inputs: Tensor[] = [
    ...cameras.map(({ key }) => ({ name: key, datatype: 'UINT8', shape: [-1, -1, 3] })),
    ...(platform.proprio ? [{ name: state, datatype: 'FP64', shape: [stateSize] }] : []),
    { name: instruction[0]!, datatype: 'BYTES', shape: [1] },
  ];
  const outputs: Tensor[] = [
    { name: 'actions', datatype: 'FP64', shape: [platform.chunk, dimensions.length] },
  ];
  const model = { name: modelName, platform: policy.variant };
  const metadata = get(() => json({ ...model, versions: [modelVersion], inputs, outputs }));
  const config = get(() =>
    json({
      ...model,
      backend: modelName,
      max_batch_size: 0,
      input: inputs.map(configTensor),
      output: outputs.map(configTensor),
    }),
  );
  const stats = get(() => {
    const success = { count: counts.count, ns: Math.round(counts.ms * 1e6) };
    const statistics = { success, fail: { count: counts.failed, ns: 0 }, compute_infer: success };
    const model = { name: modelName, version: modelVersion, inference_count: counts.count };
    return json({ model_stats: [{ ...model, execution_count: counts.count, inference_stats: statistics }] });
  });
  const infer = inferPage(service, oipForm(service, counts));
  const index: Page = {
    method: 'POST',
    answer: () => json([{ name: modelName, version: modelVersion, state: 'READY' }]),
  };
  const server = get(() =>
    json({
      name: modelName,
      version: modelVersion,
      extensions: ['binary_tensor_data', 'model_configuration', 'statistics'],
    }),
  );
  const ofModel = (path: string): [string, Page][] => [
    [path, metadata],
    [`${path}/ready`, ready],
    [`${path}/config`, config],
    [`${path}/stats`, stats],
    [`${path}/infer`, infer],
  ];
  const path = `/v2/models/${modelName}`;
  return [
    ['/v2', server],
    ['/v2/health/live', live],
    ['/v2/health/ready', ready],
    ['/v2/models/stats', stats],
    ['/v2/repository/index', index],
    ...ofModel(path),
    ...ofModel(`${path}/versions/${modelVersion}`),
  ];
}

function configTensor({ name, datatype, shape }: Tensor): Record<string, unknown> {
  const type = datatype === 'BYTES' ? 'STRING' : datatype;
  return { name, data_type: `TYPE_${type}`, dims: shape };
}
