/**
 * The inference thread of the CPU runtime: owns ONNX Runtime's two sessions and the state of each encoded instruction.
 * onnxruntime-node runs a model on the thread that calls it, so that thread must not be the caller's event loop.
 */

import { join } from 'node:path';
import { parentPort } from 'node:worker_threads';
import * as ort from 'onnxruntime-node';
import { stagePrefix } from '../graph/graphContext.ts';
import type {
  NamedTensors,
  Reply,
  ReplyEnvelope,
  Request,
  RequestEnvelope,
  TensorData,
} from './onnxMessages.ts';

interface Loaded {
  readonly instruction: ort.InferenceSession;
  readonly policy: ort.InferenceSession;
}

const port = parentPort;
if (port === null) throw new Error('onnxWorker.ts runs only as a worker thread');

let loaded: Loaded | null = null;
const states = new Map<number, Record<string, ort.Tensor>>();

function sessionOptions(request: Request & { kind: 'load' }): ort.InferenceSession.SessionOptions {
  const common = {
    intraOpNumThreads: request.options.threads,
    executionMode: 'sequential',
    logSeverityLevel: 3,
    ...(request.options.profileFolder === undefined ? {} : { enableProfiling: true }),
  } as const;
  // weights are named by absolute path below "/": no copy, no link, whatever folder or file system they lie in
  // masked attention leaves weights of 1e-45, on which the CPU is ten times slower than on the zero that they stand for
  const session = { model_external_initializers_file_folder_path: '/', set_denormal_as_zero: '1' };
  if (request.options.weights === 'folded') {
    return { ...common, graphOptimizationLevel: 'all', extra: { session } };
  }
  // bf16 weights stay mapped and are widened at each use: no folding, no packed copies, no arena that would keep either
  return {
    ...common,
    graphOptimizationLevel: 'all',
    enableCpuMemArena: false,
    enableMemPattern: false,
    extra: {
      session: { ...session, disable_prepacking: '1' },
      optimization: { disable_specified_optimizers: 'ConstantFolding' },
    },
  };
}

function toOrt(tensors: NamedTensors): Record<string, ort.Tensor> {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { type, data, dims }]) => [
      name,
      new ort.Tensor(type, data, [...dims]),
    ]),
  );
}

/** Copies out of the runtime's memory; the copy's buffer is then moved to the other thread. */
function fromOrt(tensor: ort.Tensor): TensorData {
  const data = tensor.data as Float32Array | BigInt64Array | Int32Array | Uint8Array;
  return { type: tensor.type, data: data.slice(), dims: tensor.dims } as TensorData;
}

async function handle(request: Request): Promise<{ outputs: NamedTensors; ms: number; at: number }> {
  const at = Number(process.hrtime.bigint()) / 1e6;
  const start = performance.now();
  const done = (outputs: NamedTensors) => ({ outputs, ms: performance.now() - start, at });
  switch (request.kind) {
    case 'load': {
      const options = sessionOptions(request);
      // the runtime adds a date to the prefix, and does not say the name
      const named = (graph: 'instruction' | 'policy') => {
        const folder = request.options.profileFolder;
        return folder === undefined ? options : { ...options, profileFilePrefix: join(folder, graph) };
      };
      const instruction = await ort.InferenceSession.create(request.instruction, named('instruction'));
      const policy = await ort.InferenceSession.create(request.policy, named('policy'));
      loaded = { instruction, policy };
      return done({});
    }
    case 'encode': {
      const results = await ready().instruction.run(toOrt(request.inputs));
      const state: Record<string, ort.Tensor> = {};
      const stages: Record<string, TensorData> = {};
      for (const [name, tensor] of Object.entries(results)) {
        if (name.startsWith(stagePrefix)) stages[name] = fromOrt(tensor);
        else state[name] = tensor;
      }
      // outputs that this policy graph does not read (a tower without samplers, say) are not kept
      const wanted = new Set(ready().policy.inputNames);
      states.set(
        request.state,
        Object.fromEntries(Object.entries(state).filter(([name]) => wanted.has(name))),
      );
      return done(stages);
    }
    case 'run': {
      const state = states.get(request.state);
      if (state === undefined) throw new Error('this instruction was released');
      const results = await ready().policy.run({ ...state, ...toOrt(request.inputs) });
      const ms = performance.now() - start;
      return {
        outputs: Object.fromEntries(Object.entries(results).map(([name, t]) => [name, fromOrt(t)])),
        ms,
        at,
      };
    }
    case 'endProfiling':
      ready().instruction.endProfiling();
      ready().policy.endProfiling();
      return done({});
    case 'release':
      states.delete(request.state);
      return done({});
    case 'close':
      states.clear();
      await loaded?.policy.release();
      await loaded?.instruction.release();
      loaded = null;
      return done({});
  }
}

function ready(): Loaded {
  if (loaded === null) throw new Error('no model is loaded');
  return loaded;
}

function post(envelope: ReplyEnvelope): void {
  const { reply } = envelope;
  const buffers = reply.ok ? Object.values(reply.outputs).map(({ data }) => data.buffer as ArrayBuffer) : [];
  port!.postMessage(envelope, buffers);
}

let queue: Promise<void> = Promise.resolve();
port.on('message', ({ id, request }: RequestEnvelope) => {
  queue = queue.then(async () => {
    let reply: Reply;
    try {
      reply = { ok: true, ...(await handle(request)) };
    } catch (error) {
      reply = { ok: false, message: error instanceof Error ? error.message : String(error) };
    }
    post({ id, reply });
    if (request.kind === 'close') port.close();
  });
});
