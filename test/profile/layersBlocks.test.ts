/** From the names of nodes and kernels to the policy's own blocks. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  blockOf,
  blockOfLayer,
  type GraphName,
  nodesOf,
  stageOfBlock,
  wholeBlock,
} from '../../lib/profile/layers/blocks.ts';

const test = suite('blocks of layers');

test('names of lib/graph and of the checkpoint', () => {
  const cases: readonly [string, GraphName, string | null, string][] = [
    ['siglip/block11/attn/qkv', 'policy', 'siglip block 11 attention', 'vision'],
    ['siglip/block11/norm1', 'policy', 'siglip block 11 attention', 'vision'],
    ['dinov2/block4/ls2', 'policy', 'dinov2 block 4 mlp', 'vision'],
    ['dinov2/block4/film_scaled', 'policy', 'dinov2 block 4 film', 'vision'],
    ['dinov2/embed/proj', 'policy', 'dinov2 embedding', 'vision'],
    ['patches/levels', 'policy', 'image patches', 'vision'],
    ['exchange1/siglip/fc1', 'policy', 'fuser exchange 1', 'vision'],
    ['siglip_pruner/instructionTopK', 'policy', 'pruner siglip', 'pruner'],
    ['siglip_kept_patches', 'policy', 'pruner siglip', 'pruner'],
    ['fuser/channelConcat', 'policy', 'fuser', 'fuser'],
    ['fuser/fc2', 'policy', 'projector', 'fuser'],
    ['fuser/siglip_pooled/fc1', 'policy', 'projector pooled siglip', 'fuser'],
    ['proprio/fc1', 'policy', 'proprio projector', 'fuser'],
    ['llama/layer3/mlp/gate_up', 'policy', 'llama layer 3 mlp', 'llm'],
    ['llama/layer31/attn/rotary/out', 'policy', 'llama layer 31 attention', 'llm'],
    ['llama/norm/scaled', 'policy', 'llama norm', 'llm'],
    ['head/model_trans/block0/fc', 'policy', 'action head translation', 'heads'],
    ['head/model/fc1', 'policy', 'action head', 'heads'],
    ['head/actions', 'policy', 'coupler', 'heads'],
    ['language_model.model.layers.3.mlp.up_proj.weight/float32', 'policy', 'llama layer 3 mlp', 'llm'],
    [
      'vision_backbone.featurizer.blocks.2.attn.qkv.weight[0:96]/float32',
      'policy',
      'dinov2 block 2 attention',
      'vision',
    ],
    [
      'vision_backbone.cross_vit_model.aggregate_proj.3.0.bias/float32',
      'policy',
      'fuser exchange 1',
      'vision',
    ],
    [
      'siglip_text/layer2/q_proj',
      'instruction',
      'instruction: siglip text tower layer 2 attention',
      'instruction',
    ],
    [
      'siglip_text/layer2/mlp/fc1',
      'instruction',
      'instruction: siglip text tower layer 2 mlp',
      'instruction',
    ],
    ['film/dinov2/block3/gamma', 'instruction', 'instruction: dinov2 film', 'instruction'],
    ['Transpose_token_76', 'policy', null, 'other'],
    ['siglip/block11/attn/qkv', 'instruction', null, 'other'],
  ];
  for (const [name, graph, block, stage] of cases) {
    assert.is(blockOf(name, graph), block, name);
    assert.is(stageOfBlock(block ?? 'other'), stage, name);
  }
  assert.is(wholeBlock('siglip block 11 attention'), 'siglip block 11');
  assert.is(wholeBlock('pruner siglip'), 'pruner siglip');
});

test('what ONNX Runtime makes of names', () => {
  const cases: readonly [string, string | null][] = [
    ['llama/layer0/input_norm/scaled/SimplifiedLayerNormFusion/', 'llama layer 0 attention'],
    ['siglip/block0/attn/scores/MatMulScaleFusion/', 'siglip block 0 attention'],
    ['llama/layer2/attn/k_sin_table/GatherSliceToSplitFusion', 'llama layer 2 attention'],
    ['fused head/model_grip/fc1', 'action head gripper'],
    ['_inlfunc_instructionTopK_patch_norm', 'pruner'],
    ['_inlfunc_textGuidedPooling_token_1_pooled', 'pruner'],
    ['_inlfunc_channelConcat_joined', 'fuser'],
    ['Squeeze_token_131', null],
  ];
  for (const [name, block] of cases) assert.is(blockOfLayer(name, 'policy'), block, name);
});

test('what TensorRT makes of names: joined, wrapped, or told in the metadata', () => {
  assert.equal(nodesOf('llama/layer0/attn/qkv + PWN(llama/layer0/mlp/silu)'), [
    'llama/layer0/attn/qkv',
    'PWN',
    'llama/layer0/mlp/silu',
  ]);
  assert.is(
    blockOfLayer('{ForeignNode[siglip/block3/norm1...siglip/block3/attn/qkv]}', 'policy'),
    'siglip block 3 attention',
  );
  // as a build of TensorRT-RTX 1.7 writes it
  const metadata = '[ONNX Layer: llama/layer0/mlp/gate_up]\u001f[ONNX Layer: llama/layer0/mlp/silu]';
  assert.is(blockOfLayer('__myl_FcSilu_myl0_12', 'policy', metadata), 'llama layer 0 mlp');
  assert.is(blockOfLayer('__myl_FcSilu_myl0_12', 'policy'), null);
});

test('a layer that spans blocks belongs, whole, to the one it has most nodes of', () => {
  const metadata = [
    'llama/layer0/attn_residual',
    'llama/layer0/post_norm/square',
    'llama/layer0/post_norm/mean',
  ].map((name) => `[ONNX Layer: ${name}]`);
  assert.is(blockOfLayer('x', 'policy', metadata.join('')), 'llama layer 0 mlp');
  const equal = '[ONNX Layer: llama/layer0/out][ONNX Layer: llama/layer1/input_norm/square]';
  assert.is(blockOfLayer('x', 'policy', equal), 'llama layer 0 mlp', 'the first of equals');
});

test.run();
