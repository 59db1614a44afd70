/** Both engines of every golden checkpoint, built by TensorRT-RTX on a machine that needs no GPU. */

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findAddon } from '../../lib/addon/binding.ts';
import type { Checkpoint, Progress } from '../../lib/checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { buildEngine } from '../../lib/engine/buildEngine.ts';
import { type BuildPolicyOptions, buildPolicyEngines } from '../../lib/engine/buildPolicyEngines.ts';
import {
  encodeForTensorRt,
  instructionInputs,
  perEngine,
  prepareModels,
} from '../../lib/engine/engineModels.ts';
import { type FoundTensorRt, findParser } from '../../lib/engine/findTensorRt.ts';
import { parsePlan } from '../../lib/engine/planLayers.ts';
import { presetArchitecture } from '../../lib/engine/presetArchitecture.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { type GoldenName, goldenCheckpoint } from '../helpers/golden.ts';
import { testWhen } from '../helpers/skip.ts';
import { tensorRtRtx } from '../helpers/tensorRt.ts';

const engines = suite('engine/goldenEngines');
const finding = tensorRtRtx();
const available = 'tensorRt' in finding;
const missing = 'missing' in finding ? finding.missing : '';

function tensorRt(): FoundTensorRt {
  if (!('tensorRt' in finding)) throw new Error(missing);
  return finding.tensorRt;
}

const sizes = {
  'libero-tiny': { images: 2, chunk: 8, actionDim: 7, proprio: true },
  'aloha-tiny': { images: 3, chunk: 25, actionDim: 14, proprio: true },
  'oft-tiny': { images: 2, chunk: 8, actionDim: 7, proprio: true },
} as const;
const plugins: Readonly<Record<GoldenName, Record<string, number>>> = {
  'libero-tiny': { instructionTopK: 1, textGuidedPooling: 1, channelConcat: 1 },
  'aloha-tiny': { instructionTopK: 1, textGuidedPooling: 1, channelConcat: 1 },
  'oft-tiny': { channelConcat: 1 },
};

const opened = new Map<GoldenName, Promise<Checkpoint>>();
function checkpoint(name: GoldenName): Promise<Checkpoint> {
  const before = opened.get(name) ?? openCheckpoint(goldenCheckpoint(name));
  opened.set(name, before);
  return before;
}

function options(name: GoldenName, changes: Partial<BuildPolicyOptions> = {}): BuildPolicyOptions {
  return {
    tensorRt: tensorRt(),
    sizes: sizes[name],
    precision: 'bfloat16',
    weights: 'bound',
    promptLength: { min: 8, opt: 32, max: 96 },
    targets: [80, 86, 89, 120],
    ...changes,
  };
}

for (const name of Object.keys(sizes) as GoldenName[]) {
  testWhen(available, missing, engines, `${name}: bfloat16, weights bound, four targets`, async () => {
    const steps: Progress[] = [];
    const built = await buildPolicyEngines(
      await checkpoint(name),
      options(name, { onProgress: (p) => steps.push(p) }),
    );
    assert.is(built.denoiser, null);
    for (const { audit, plan, bindings } of perEngine(built)) {
      assert.equal(audit.problems, []);
      assert.equal(audit.float32Products, []);
      assert.ok(plan.byteLength > 10_000);
      assert.is(audit.boundWeights, bindings.length);
      assert.ok(audit.inputs >= bindings.length);
    }
    assert.equal(built.policy.audit.plugins, plugins[name]);
    assert.equal(built.instruction.audit.plugins, {});
    assert.equal(
      built.instruction.graph.outputs.map((output) => output.name).sort(),
      instructionInputs(built.policy.graph).sort(),
    );
    assert.ok(steps.some(({ step }) => step.startsWith('instruction: ')));
    assert.ok(steps.some(({ step }) => step.startsWith('policy: ')));
    for (const { done, total } of steps) assert.ok(done >= 1 && done <= total, `${done} of ${total}`);
  });
}

/** Heads that run the language model more than once, with what the second engine leaves for the third. */
const repeating = [
  ['oft-diffusion-tiny', undefined, { ...sizes['oft-tiny'] }, ['prefix']],
  ['openvla-ar-tiny', 'autoregressive', { images: 1, chunk: 1, actionDim: 7, proprio: false }, null],
] as const;
for (const [name, head, own, handed] of repeating) {
  testWhen(available, missing, engines, `${name}: bfloat16, weights bound`, async () => {
    const policy = await openCheckpoint(goldenCheckpoint(name), {
      ...(head === undefined ? {} : { head }),
      onNotice: () => {},
    });
    const built = await buildPolicyEngines(policy, {
      ...options('oft-tiny', { targets: [89] }),
      sizes: own,
    });
    for (const { audit } of perEngine(built)) {
      assert.equal(audit.problems, []);
      assert.equal(audit.float32Products, []);
    }
    const made = built.policy.graph.outputs.map((output) => output.name);
    const { denoiser } = built;
    if (handed === null) {
      assert.is(denoiser, null);
      assert.equal(made.sort(), ['actions', 'token_ids']);
    } else {
      assert.equal(made, handed);
      assert.equal(denoiser!.graph.outputs.map((output) => output.name).sort(), ['actions', 'noise_pred']);
      assert.ok(handed.every((one) => denoiser!.graph.inputs.some((input) => input.name === one)));
    }
  });
}

testWhen(available, missing, engines, 'weights baked: no weight is an input any more', async () => {
  const built = await buildPolicyEngines(
    await checkpoint('oft-tiny'),
    options('oft-tiny', { weights: 'baked', targets: [89] }),
  );
  assert.is(built.policy.audit.boundWeights, 0);
  assert.equal(built.policy.bindings, []);
  assert.is(built.policy.audit.inputs, built.policy.graph.inputs.length);
  assert.equal(built.policy.audit.plugins, plugins['oft-tiny']);
});

testWhen(
  available,
  missing,
  engines,
  'the same plan from build to build, but for numbers of its own',
  async () => {
    const { instruction } = prepareModels(await checkpoint('libero-tiny'), options('libero-tiny'));
    const build = () => buildEngine(tensorRt(), encodeForTensorRt(instruction), plain);
    const shape = ({ plan, layers }: Awaited<ReturnType<typeof build>>) => ({
      bytes: plan.byteLength,
      layers: layers.map((text) => parsePlan(text).layers.map(({ kind, nodes }) => [kind, ...nodes])),
    });
    assert.equal(shape(await build()), shape(await build()));
  },
);

/** Processor time that this process has used, in milliseconds: it grows with the work, whatever else the machine does. */
function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const plain = { targets: [89], optimizationLevel: null, workspaceBytes: null };

let wholePolicyMs: number | null = null;
/** Processor time of a whole build of libero-tiny's policy for one target. */
async function wholeBuildMs(): Promise<number> {
  if (wholePolicyMs === null) {
    const { policy } = prepareModels(await checkpoint('libero-tiny'), options('libero-tiny'));
    const encoded = encodeForTensorRt(policy);
    const start = processorMs();
    await buildEngine(tensorRt(), encoded, plain);
    wholePolicyMs = processorMs() - start;
  }
  return wholePolicyMs;
}

testWhen(
  available,
  missing,
  engines,
  'an aborted build rejects with the reason, before it is half done, and the next one works',
  async () => {
    const whole = await wholeBuildMs();
    const controller = new AbortController();
    const reason = new Error('changed my mind');
    let aborted = 0;
    const onProgress = ({ step }: Progress): void => {
      if (aborted > 0 || !step.startsWith('policy: ')) return;
      aborted = processorMs();
      controller.abort(reason);
    };
    const policy = await checkpoint('libero-tiny');
    let caught: unknown;
    try {
      await buildPolicyEngines(policy, options('libero-tiny', { onProgress, signal: controller.signal }));
    } catch (error) {
      caught = error;
    }
    assert.is(caught, reason);
    const rest = processorMs() - aborted;
    assert.ok(rest < whole / 2, `${rest} ms of ${whole}`);
    const { instruction } = prepareModels(policy, options('libero-tiny'));
    assert.ok((await buildEngine(tensorRt(), encodeForTensorRt(instruction), plain)).plan.byteLength > 0);
  },
);

testWhen(
  available,
  missing,
  engines,
  'a worker that ends in the middle of a build does not wait for it',
  async () => {
    const whole = await wholeBuildMs();
    const { policy } = prepareModels(await checkpoint('libero-tiny'), options('libero-tiny'));
    const worker = new Worker(new URL('../helpers/buildWorker.mjs', import.meta.url), {
      workerData: {
        addon: findAddon(),
        request: {
          ...encodeForTensorRt(policy),
          library: tensorRt().library,
          parser: findParser(tensorRt()),
          module: tensorRt().module,
        },
      },
    });
    await once(worker, 'message');
    const started = processorMs();
    await worker.terminate();
    const rest = processorMs() - started;
    assert.ok(rest < whole / 2, `${rest} ms of ${whole}`);
  },
);

async function code(promise: Promise<unknown>): Promise<SemanticVlaError> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, SemanticVlaError);
    return error as SemanticVlaError;
  }
  throw new Error('expected an error');
}

testWhen(available, missing, engines, 'wrong options and wrong models are refused in words', async () => {
  const policy = await checkpoint('libero-tiny');
  const target = await code(buildPolicyEngines(policy, options('libero-tiny', { targets: [87] })));
  assert.is(target.code, 'ENGINE_BUILD_FAILED');
  assert.match(target.message, /sm_87/);
  assert.match(target.message, /on the device itself/);

  const preset = await code(
    buildPolicyEngines(presetArchitecture('tiny'), options('libero-tiny', { weights: 'baked' })),
  );
  assert.is(preset.code, 'OPTION_REQUIRED');

  const old = await code(buildPolicyEngines(policy, options('libero-tiny', { targets: [75] })));
  assert.is(old.code, 'OPTION_INVALID');
  assert.match(old.message, /float16/);

  const { instruction } = prepareModels(policy, options('libero-tiny'));
  const model = encodeForTensorRt(instruction);
  const lost = await code(buildEngine(tensorRt(), { ...model, plugins: { instructionTopK: 1 } }, plain));
  assert.match(lost.message, /expected 1 instructionTopK, found none/);
  const torn = await code(buildEngine(tensorRt(), { ...model, onnx: model.onnx.subarray(0, 1000) }, plain));
  assert.is(torn.code, 'ENGINE_BUILD_FAILED');
  const [range] = model.profiles[0]!;
  const upside = [[{ ...range!, min: [40] }]];
  const profile = await code(buildEngine(tensorRt(), { ...model, profiles: upside }, plain));
  assert.is(profile.code, 'ENGINE_BUILD_FAILED');
});

engines.run();
