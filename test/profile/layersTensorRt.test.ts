/**
 * Layers of TensorRT: names of a real plan, the inspector's JSON, and a session on a device without a GPU. How long a kernel
 * takes only a GPU can say; here is held that what it says arrives, under the right block, once.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Checkpoint } from '../../lib/checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { prepareModels } from '../../lib/engine/engineModels.ts';
import { names } from '../../lib/graph/names.ts';
import { countTokens } from '../../lib/graph/tokenCounts.ts';
import { gatherParts } from '../../lib/policy/policyParts.ts';
import { runChunk } from '../../lib/profile/layers/chunkRun.ts';
import { blocksOf, foldGraph } from '../../lib/profile/layers/foldLayers.ts';
import type { LayerRun } from '../../lib/profile/layers/layerRuns.ts';
import { parseInspector } from '../../lib/profile/layers/layerRuns.ts';
import { watchTensorRt } from '../../lib/profile/layers/watchedSession.ts';
import { TensorRtSession, type TensorRtSessionOptions } from '../../lib/runtime/tensorRt.ts';
import { observationFor } from '../../lib/synth/randomObservation.ts';
import { pickFrames } from '../../lib/transforms/pickFrames.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import { fakePlan, fakeTensorRt } from '../runtime/fakeTensorRt.ts';

const test = suite('profile of TensorRT');

interface RecordedLayer {
  readonly graph: 'instruction' | 'policy';
  readonly Name: string;
  readonly LayerType: string;
  readonly Metadata: string;
}

/** Both plans of the golden LIBERO policy by TensorRT-RTX 1.7 for sm_89, bfloat16, one layer a line. */
const recorded = readFileSync(join(import.meta.dirname, 'recorded/tensorRtRtx.layers'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as RecordedLayer);
/** What launches nothing on the device. */
const notKernels = new Set(['shape_call', 'ShapeHostToDevice', 'signal', 'wait', 'NoOp']);

function asRun(graph: RecordedLayer['graph']): LayerRun[] {
  return recorded
    .filter((layer) => layer.graph === graph)
    .map(({ Name, LayerType, Metadata }) => ({
      name: Name,
      kind: LayerType,
      metadata: Metadata,
      startMs: null,
      ms: 1,
    }));
}

test('a real plan: at least 95 % of its kernels have a block, all parts of the policy among them', () => {
  for (const graph of ['policy', 'instruction'] as const) {
    const layers = asRun(graph);
    const blocks = blocksOf(layers, graph);
    const kernels = blocks.filter((_, i) => !notKernels.has(layers[i]!.kind));
    const known = kernels.filter((block) => block !== 'other');
    assert.ok(known.length >= 0.95 * kernels.length, `${graph}: ${known.length} of ${kernels.length}`);
    if (graph === 'instruction') {
      assert.ok(known.every((block) => block.startsWith('instruction: ')));
      continue;
    }
    const wanted = [
      'siglip block 0 attention',
      'siglip block 4 mlp',
      'dinov2 block 3 attention',
      'fuser exchange 1',
      'pruner siglip',
      'projector',
      'llama layer 0 attention',
      'llama layer 2 mlp',
      'action head translation',
    ];
    for (const block of wanted) assert.ok(known.includes(block), block);
    // a kernel is one row of one block
    const { profile } = foldGraph('policy', [{ at: null, ms: layers.length, layers }], {
      plainMs: 1,
      profiledMs: 1,
    });
    assert.is(
      profile.blocks.reduce((sum, block) => sum + block.layers, 0),
      layers.length,
    );
  }
});

test("the inspector's JSON, with detail and without", () => {
  const text = JSON.stringify({
    Layers: [{ Name: 'a', LayerType: 'kgen', Metadata: '[ONNX Layer: x]' }, 'b', { Name: 7 }, null],
    Bindings: ['images'],
  });
  const { layers, info } = parseInspector(text, 'plan');
  assert.equal(
    [...layers],
    [
      ['a', { kind: 'kgen', metadata: '[ONNX Layer: x]' }],
      ['b', { kind: '', metadata: '' }],
    ],
  );
  assert.equal(info, JSON.parse(text));
  for (const bad of ['', '{}', '[]', 'null', '{"Layers": 3}']) {
    assert.throws(
      () => parseInspector(bad, 'plan'),
      /^plan: expected the JSON of TensorRT's engine inspector/,
    );
  }
});

async function fixture(): Promise<{ checkpoint: Checkpoint; options: TensorRtSessionOptions }> {
  const checkpoint = await openCheckpoint(goldenCheckpoint('libero-tiny'));
  const sizes = { images: 2, chunk: 8, actionDim: 7, proprio: true };
  const models = prepareModels(checkpoint, {
    sizes,
    precision: 'bfloat16',
    weights: 'bound',
    promptLength: { min: 4, opt: 30, max: 80 },
  });
  const tokens = countTokens(checkpoint.config, sizes);
  const from = (more: number): string => `${names.promptIds}.0+${more}`;
  const symbols = {
    P1: from(0),
    T: from(tokens.placeholders - 1),
    L: from(tokens.nVis + tokens.placeholders),
  };
  const { instruction, policy } = models;
  const options: TensorRtSessionOptions = {
    ...fakeTensorRt(),
    label: 'TensorRT 10.3.0.7',
    instruction: { plan: fakePlan(instruction.graph, symbols), bindings: instruction.graph.bindings },
    policy: { plan: fakePlan(policy.graph, symbols), bindings: policy.graph.bindings },
    imageShape: policy.graph.inputs.find(({ name }) => name === names.images)!.shape as number[],
  };
  return { checkpoint, options };
}

test('a session without a GPU: parts of a chunk without the profiler, layers with it', async () => {
  const { checkpoint, options } = await fixture();
  const unnormKey = 'libero_spatial_no_noops';
  const parts = await gatherParts(checkpoint, { platform: 'libero', unnormKey, threads: 1 });
  const observation = observationFor(parts, unnormKey);
  const input = {
    parts,
    frames: pickFrames(observation, parts.platform.cameras),
    state: observation.state!,
    instruction: 'open the drawer',
    unnormKey,
  };
  const open = (onLayers?: NonNullable<TensorRtSessionOptions['onLayers']>): Promise<TensorRtSession> =>
    TensorRtSession.open({ ...options, ...(onLayers === undefined ? {} : { onLayers }) });

  const plain = await watchTensorRt(open, false);
  const first = await runChunk(plain, input, 0);
  assert.is(first.stages.compute, undefined, 'the call that captures has no parts');
  const second = await runChunk(plain, input, 1);
  // one tick of the fake device's clock between two events
  assert.equal([second.stages.h2d, second.stages.compute, second.stages.d2h], [1, 1, 1]);
  assert.ok(second.stages.enqueue! > 0);
  // the way that predict takes
  assert.ok(second.stages.preprocessOnDevice! >= 0);
  assert.is(second.stages.preprocess, undefined);
  const track = second.slices.find(({ name }) => name === 'preprocessOnDevice')?.track;
  assert.is(track, 'JavaScript thread');
  // wider than the fake's kernels go: the CPU's images
  const [, other] = input.frames;
  const wide = { data: new Uint8Array(1001 * 20 * 3), width: 1001, height: 20 };
  const third = await runChunk(plain, { ...input, frames: [wide, other!] }, 2);
  assert.ok(third.stages.preprocess! > 0);
  assert.is(third.stages.preprocessOnDevice, undefined);
  assert.is(await plain.layerInfo(), null);
  assert.equal(await plain.finish(), { instruction: [], policy: [] });
  await plain.close();

  const watched = await watchTensorRt(open, true);
  assert.is(watched.runtime, 'TensorRT 10.3.0.7');
  for (let chunk = 0; chunk < 3; chunk++) await runChunk(watched, input, chunk);
  const runs = await watched.finish();
  assert.is(runs.policy.length, 3);
  assert.is(runs.instruction.length, 3);
  // the fake runtime makes one layer of each output
  assert.equal(
    runs.policy[0]!.layers.map(({ name, kind, ms }) => [name, kind, ms]),
    [
      ['siglip_kept_patches', 'fake', 0.5],
      ['siglip_similarity', 'fake', 0.5],
      ['actions', 'fake', 0.5],
    ],
  );
  const { profile } = foldGraph('policy', runs.policy, { plainMs: 1, profiledMs: 2 });
  assert.equal(
    profile.blocks.map(({ block, layers }) => [block, layers]),
    [
      ['pruner siglip', 2],
      ['coupler', 1],
    ],
  );
  assert.is(profile.slowDown, 2);
  const info = await watched.layerInfo();
  assert.is((info!.policy as { Layers: unknown[] }).Layers.length, 3);
  await watched.close();
});

test.run();
