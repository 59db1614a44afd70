import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { auditPlan, kernelsPerBlock, requireSound } from '../../lib/engine/auditPlan.ts';
import { auditTable } from '../../lib/engine/auditTable.ts';
import { parsePlan } from '../../lib/engine/planLayers.ts';
import type { NodeProto, OnnxModel } from '../../lib/graph/onnxModel.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';

const audit = suite('engine/auditPlan');

const tail = ', Strides: [1], StrideOrder: [0], Datatype: ';
function operand(name: string, dims: string, type: string): string {
  return `{ Name: ${name}, Dimensions: [${dims}]${tail}${type}, Format: (Linear) Row major linear format }`;
}
function layer(
  kind: string,
  name: string,
  inputs: string[],
  outputs: string[],
  nodes: string[],
  stream = 0,
): string {
  // TensorRT-RTX's separator
  const metadata = nodes.map((node) => `[ONNX Layer: ${node}]`).join('\u001f');
  return `Name: ${name}, LayerType: ${kind}, Inputs: [ ${inputs.join(', ')}], Constants: [], Outputs: [ ${outputs.join(', ')}], TacticName: t_0x1, StreamId: ${stream}, Metadata: ${metadata}`;
}

const bf = (name: string) => operand(name, '-1,64', 'BFloat16');
const io = [
  'I/O Tensors:',
  ' Name: x, IOMode: Input, DataType: BFloat16, Dimensions: [-1,64], Location: Device, IsShapeInferenceIO: false, ProfileInfo: []',
  ' Name: w, IOMode: Input, DataType: BFloat16, Dimensions: [64,64], Location: Device, IsShapeInferenceIO: false, ProfileInfo: []',
  ' Name: y, IOMode: Output, DataType: Float, Dimensions: [-1,64], Location: Device, IsShapeInferenceIO: false, ProfileInfo: []',
];
const sound = [
  'Layers:',
  'Name: [ShapeHostToDeviceCopy 0], LayerType: ShapeHostToDevice, Inputs: [], Outputs: [ { Name: s, Location: Device, Dimensions: [1], Datatype: Int64, Format: none }], ParameterType: ShapeH2D, StreamId: 0, Metadata: ',
  layer(
    'kgen',
    'norm',
    [bf('x')],
    [bf('n'), operand('m', '-1,1', 'Float')],
    ['llama/layer0/input_norm/mean'],
  ),
  layer(
    'gemm',
    'qkv',
    [bf('n'), bf('w'), operand('alpha', '1', 'Float')],
    [bf('q')],
    ['llama/layer0/attn/qkv'],
  ),
  layer('signal', 's', [], [], [], 1),
  layer('custom_layer', 'p', [bf('q')], [operand('k', '2,8', 'Int64')], ['siglip_pruner/instructionTopK']),
  layer('kgen', 'cast', [bf('q')], [operand('y', '-1,64', 'Float')], []),
];

function nodeOf(name: string, opType: string, input: string[] = []): NodeProto {
  return { name, opType, domain: '', input, output: [], attribute: [] };
}
const model: OnnxModel = {
  name: 'm',
  doc: '',
  opset: 21,
  nodes: [
    nodeOf('llama/layer0/attn/qkv', 'Gemm', ['n', 'w']),
    nodeOf('siglip_pruner/instructionTopK', 'instructionTopK'),
  ],
  initializers: [],
  inputs: [
    { name: 'x', type: 'bfloat16', shape: ['L', 64] },
    { name: 'w', type: 'bfloat16', shape: [64, 64] },
  ],
  outputs: [{ name: 'y', type: 'float32', shape: ['L', 64] }],
  functions: [],
  quantized: [],
  bindings: [{ name: 'w', type: 'bfloat16', dims: [64, 64], parts: [] }],
};

function auditOf(lines: readonly string[], plugins: Record<string, number> = { instructionTopK: 1 }) {
  const result = { layers: [lines.join('\n')], tensors: [] };
  return auditPlan({ name: 'policy', model, precision: 'bfloat16', plugins, result });
}

audit('reads layers, tensors and ONNX nodes, also with brackets in their names', () => {
  const row = layer(
    'runtime_fusion',
    '__myl_FcAdd_myl0_427',
    [operand('blocks.23.attn.qkv.bias[1024:3072]', '1,2048', 'BFloat16'), operand('scalar', '', 'Float')],
    [operand('out', '586,2048', 'BFloat16')],
    ['dinov2/block23/attn/kv_proj', 'x.qkv.weight[0:8]/bfloat16'],
    3,
  );
  const { layers, unread } = parsePlan(`Layers:\n${row}\n\nnoise`);
  assert.equal(unread, []);
  assert.equal(layers, [
    {
      name: '__myl_FcAdd_myl0_427',
      kind: 'runtime_fusion',
      inputs: [
        { name: 'blocks.23.attn.qkv.bias[1024:3072]', dims: [1, 2048], type: 'bfloat16' },
        { name: 'scalar', dims: [], type: 'float32' },
      ],
      constants: [],
      outputs: [{ name: 'out', dims: [586, 2048], type: 'bfloat16' }],
      tactic: 't_0x1',
      stream: 3,
      nodes: ['dinov2/block23/attn/kv_proj', 'x.qkv.weight[0:8]/bfloat16'],
    },
  ]);
});

audit('older spelling of types', () => {
  const old =
    'Name: fc, LayerType: gemm, Inputs: [ { Name: a, Location: Device, Dimensions: [4,8], Format/Datatype: Row major linear FP16 format }], Outputs: [ { Name: b, Location: Device, Dimensions: [4,8], Format/Datatype: Row major linear BF16 format }], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: head/fc]';
  const [one] = parsePlan(old).layers;
  assert.is(one?.inputs[0]?.type, 'float16');
  assert.is(one?.outputs[0]?.type, 'bfloat16');
});

audit('a sound plan: counts, plugins, blocks, inputs and outputs', () => {
  const found = auditOf([...sound, '', ...io]);
  assert.equal(found.problems, []);
  assert.is(found.layers, 6);
  assert.is(found.kernels, 4);
  assert.equal(found.plugins, { instructionTopK: 1 });
  assert.equal(kernelsPerBlock(found), { 'llama/layer': 2 });
  assert.equal(found.types, { bfloat16: 2, int64: 1, float32: 1 });
  assert.is(found.inputs, 2);
  assert.is(found.boundWeights, 1);
  assert.equal(found.outputs, [{ name: 'y', type: 'float32', dims: [-1, 64] }]);
  requireSound(found);
  assert.match(auditTable(found), /plugins +instructionTopK 1/);
  assert.match(auditTable(found), /verdict +as asked for/);
});

audit('a float32 matrix product in a bfloat16 engine fails', () => {
  const wide = sound.map((row) =>
    row.includes('LayerType: gemm') ? row.replace(bf('n'), operand('n', '-1,64', 'Float')) : row,
  );
  const found = auditOf([...wide, ...io]);
  assert.is(found.float32Products.length, 1);
  assert.throws(
    () => requireSound(found),
    (error: unknown) =>
      error instanceof SemanticVlaError &&
      error.code === 'ENGINE_AUDIT_FAILED' &&
      /float32 matrix product: qkv/.test(error.message),
  );
});

audit('a generated kernel: the norm before a product of one row may be float32, its weights may not', () => {
  const fused = (weight: string) =>
    layer(
      'kgen',
      'AddSqrtDivMulCastMulSum',
      [operand('w', '64,64', weight), operand('residual', '-1,64', 'Float')],
      [operand('q', '1,64', 'BFloat16')],
      ['llama/layer0/input_norm/narrowed', 'llama/layer0/attn/qkv'],
    );
  const problems = (row: string): readonly string[] =>
    auditOf([...sound.map((one) => (one.includes('LayerType: gemm') ? row : one)), ...io]).problems;
  assert.equal(problems(fused('BFloat16')), []);
  assert.match(problems(fused('Float')).join(), /float32 matrix product: AddSqrt/);
  // of another tensor in 16 bits nothing follows for the weights
  const other = fused('BFloat16').replace('Name: w', 'Name: b');
  assert.match(problems(other).join(), /float32 matrix product: AddSqrt/);
});

audit('a plugin that was compiled as something else fails', () => {
  const compiled = sound.map((row) => row.replace('custom_layer', 'kgen'));
  assert.equal(auditOf([...compiled, ...io]).problems, [
    'expected 1 layer(s) of plugin instructionTopK, found 0',
  ]);
});

audit('another type at the frontier, an unreadable line or no list at all fail', () => {
  const retyped = io.map((row) =>
    row.replace('Name: y, IOMode: Output, DataType: Float', 'Name: y, IOMode: Output, DataType: Half'),
  );
  assert.equal(auditOf([...sound, ...retyped]).problems, ['y: expected float32, found float16']);
  assert.match(auditOf([...sound, 'Name: what is this', ...io]).problems[0]!, /1 layers could not be read/);
  assert.match(auditOf(io).problems[0]!, /no layers/);
});

audit('of a tier each product of the language model must read two matrices of levels', () => {
  const s8 = (name: string) => operand(name, '-1,64', 'Int8');
  const products = ['llama/layer0/attn/qkv/sums', 'llama/layer0/mlp/down/sums'];
  const tiered = { ...model, nodes: [...model.nodes, ...products.map((name) => nodeOf(name, 'Gemm'))] };
  const of = (operands: readonly string[]) => {
    const lines = [
      ...sound,
      layer('gemm', 'a', [s8('x8'), s8('w8')], [bf('a')], [products[0]!, 'llama/layer0/attn/qkv/weight']),
      layer('gemm', 'b', [...operands], [bf('b')], [products[1]!]),
      ...io,
    ];
    const result = { layers: [lines.join('\n')], tensors: [] };
    const plugins = { instructionTopK: 1 };
    return auditPlan({ name: 'policy', model: tiered, precision: 'bfloat16', tier: 'int8', plugins, result });
  };
  const right = of([s8('x8'), s8('w8')]);
  // and the layer's other product is not of the tier at all
  assert.equal(right.tierProducts, { found: 2, lost: ['llama/layer0/attn/qkv'] });
  for (const operands of [
    [bf('x'), s8('w8')],
    [bf('x'), bf('w')],
    // a vector of scales is no matrix
    [s8('x8'), operand('s', '64', 'Int8')],
  ]) {
    const { problems, tierProducts } = of(operands);
    assert.is(tierProducts!.found, 1);
    assert.ok(
      problems.includes('llama/layer0/mlp/down/sums: expected a kernel that computes s8 x s8, found none'),
    );
  }
  assert.match(auditTable(right), /int8 in bfloat16[\s\S]*2 products, each s8 x s8/);
});

audit('a trimmed block is not measured against whole ones', () => {
  const trimmed = Array.from({ length: 15 }, (_, i) =>
    layer(
      'kgen',
      `t${i}`,
      [bf('x')],
      [bf('y')],
      [i === 0 ? 'llama/layer1/attn/query_rows' : 'llama/layer1/out'],
    ),
  );
  const found = auditOf([...sound, ...trimmed, ...io]);
  assert.equal(kernelsPerBlock(found), { 'llama/layer': 2 });
  assert.match(auditTable(found), /trimmed blocks +llama\/layer1 15/);
});

audit.run();
