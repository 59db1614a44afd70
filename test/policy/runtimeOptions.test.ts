/** Options that belong to one runtime: neither takes the other's, and `bench` makes its subjects from those that fit. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { subjectsOf } from '../../lib/cli/benchSubjects.ts';
import { defaultWeights } from '../../lib/policy/cpuModels.ts';
import { checkRuntimeOptions, cpuWeightsOf, tensorRtOptionsOf } from '../../lib/policy/runtimeOptions.ts';
import { sessionConfig } from '../../lib/runtime/onnxThread.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { PolicyOptions } from '../../lib/types.ts';

const test = suite('runtime options');

function refused(options: unknown, message: RegExp): void {
  assert.throws(
    () => checkRuntimeOptions(options as PolicyOptions),
    (error: unknown) =>
      error instanceof SemanticVlaError && error.code === 'OPTION_INVALID' && message.test(error.message),
    JSON.stringify(options),
  );
}

test('each runtime takes its own', () => {
  for (const options of [
    {},
    { backend: 'cpu', weights: 'mapped', precision: 'float32' },
    { weights: 'folded' },
    { precision: 'int8' },
    { precision: 'int8-llm', weights: 'mapped' },
    { backend: 'tensorrt' },
    {
      backend: 'tensorrt',
      weights: 'baked',
      precision: 'float16',
      device: 1,
      graphs: false,
      tensorRt: '/opt/trt',
    },
  ] satisfies PolicyOptions[])
    checkRuntimeOptions(options);
});

test('idle workers of the CPU runtime sleep at once, or spin as long as was said', () => {
  const spinning = (spinUs?: number) => {
    const config = sessionConfig({ weights: 'folded', ...(spinUs === undefined ? {} : { spinUs }) });
    return [config['session.intra_op.allow_spinning'], config['session.intra_op.spin_duration_us']];
  };
  assert.equal(spinning(), ['0', undefined]);
  assert.equal(spinning(0), ['0', undefined]);
  assert.equal(spinning(250), ['1', '250']);
});

test('what the other runtime has is refused by name', () => {
  refused({ weights: 'bound' }, /weights: expected folded or mapped with backend cpu, found bound/);
  refused(
    { backend: 'tensorrt', weights: 'mapped' },
    /expected bound or baked with backend tensorrt, found mapped/,
  );
  refused(
    { precision: 'bfloat16' },
    /precision: expected float32 or int8 or int8-llm with backend cpu, found bfloat16/,
  );
  refused(
    { backend: 'tensorrt', precision: 'int8-llm' },
    /float32 or bfloat16 or float16 or int8.* with backend tensorrt, found int8-llm/,
  );
  for (const backend of ['cpu', 'tensorrt'])
    refused({ backend, precision: 'nvfp4' }, /^Option precision: There is no nvfp4: .* Use int8/);
  for (const given of [{ device: 0 }, { graphs: true }, { tensorRt: '/opt/trt' }])
    refused(given, new RegExp(`${Object.keys(given)[0]}: expected with backend tensorrt only`));
  refused({ backend: 'tensorrt', spin: 0 }, /spin: expected with backend cpu only/);
  refused({ backend: 'cuda' }, /backend: expected cpu or tensorrt, found cuda/);
  refused({ backend: 'tensorrt', device: 1.5 }, /number of a GPU/);
  refused({ backend: 'tensorrt', graphs: 'no' }, /true or false/);
  refused({ backend: 'tensorrt', tensorRt: '' }, /path of a library/);
});

test('each runtime is given what it takes and no more', () => {
  assert.equal(
    tensorRtOptionsOf({
      backend: 'tensorrt',
      weights: 'bound',
      precision: 'bfloat16',
      device: 2,
      threads: 4,
    }),
    {
      weights: 'bound',
      precision: 'bfloat16',
      device: 2,
    },
  );
  assert.equal(tensorRtOptionsOf({ weights: 'folded' }), {});
  assert.is(cpuWeightsOf({ weights: 'mapped' }), 'mapped');
  assert.is(cpuWeightsOf({ weights: 'baked' }), undefined);
});

test('weights are held by the size of what is widened; in int8 by that of the policy', () => {
  const of = (towerGb: number, languageGb: number) => ({
    tensors: new Map([
      ['vision_backbone.featurizer.blocks.0.attn.qkv.weight', { byteLength: towerGb * 2 ** 30 }],
      ['language_model.model.layers.0.mlp.down_proj.weight', { byteLength: languageGb * 2 ** 30 }],
    ]),
    config: { head: { kind: 'l1' } },
  });
  type Checkpoint = Parameters<typeof defaultWeights>[0];
  const held = (towerGb: number, languageGb: number) =>
    (['float32', 'int8', 'int8-llm'] as const).map((precision) =>
      defaultWeights(of(towerGb, languageGb) as unknown as Checkpoint, precision),
    );
  assert.equal(held(0.5, 1), ['folded', 'folded', 'folded']);
  assert.equal(held(1.5, 13), ['mapped', 'mapped', 'folded']);
  assert.equal(held(3, 13), ['mapped', 'mapped', 'mapped']);
});

type Flags = Parameters<typeof subjectsOf>[1];

function optionsOf(flags: Partial<Flags>): unknown[] {
  return subjectsOf(['policy'], { preset: [], baseline: [], failIf: [], ...flags } as Flags).map(
    ({ options }) => options,
  );
}

test('bench: every combination that a runtime has, each once', () => {
  assert.equal(optionsOf({}), [{}]);
  assert.equal(
    optionsOf({
      backend: ['cpu', 'tensorrt'],
      weights: ['folded', 'bound', 'baked'],
      precision: ['bfloat16', 'float16'],
      device: 1,
    }),
    [
      { backend: 'cpu', weights: 'folded' },
      { device: 1, backend: 'tensorrt', weights: 'bound', precision: 'bfloat16' },
      { device: 1, backend: 'tensorrt', weights: 'bound', precision: 'float16' },
      { device: 1, backend: 'tensorrt', weights: 'baked', precision: 'bfloat16' },
      { device: 1, backend: 'tensorrt', weights: 'baked', precision: 'float16' },
    ],
  );
});

test('bench: a value that no listed runtime has is refused, not dropped', () => {
  for (const flags of [{ weights: ['bound'] }, { precision: ['float16'] }] as Partial<Flags>[])
    assert.throws(
      () => optionsOf(flags),
      (error: unknown) => error instanceof SemanticVlaError && error.code === 'OPTION_INVALID',
    );
});

test.run();
