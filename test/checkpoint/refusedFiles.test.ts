/** Checkpoints whose other files are missing, ambiguous, damaged or of another policy. */

import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { editJson, fileNamed, filled } from './editCheckpoint.ts';
import { archive, preprocessor, type Refusal, remove, requireRefused } from './refusals.ts';

const test = suite('refused files');

const bias = 'module.model_rot.fc1.bias';

const refusals: readonly Refusal[] = [
  ['letterbox', preprocessor({ image_resize_strategy: 'letterbox' }), 'CONFIG_UNSUPPORTED', /letterbox/],
  ['no strategy', preprocessor({ image_resize_strategy: null }), 'CONFIG_INVALID', /image_resize_strategy/],
  [
    'two input sizes',
    preprocessor({
      input_sizes: [
        [3, 224, 224],
        [3, 384, 384],
      ],
    }),
    'CONFIG_UNSUPPORTED',
    /input_sizes/,
  ],
  [
    'image that is not square',
    preprocessor({
      input_sizes: [
        [3, 224, 320],
        [3, 224, 320],
      ],
    }),
    'CONFIG_INVALID',
    /square/,
  ],
  [
    'positions of another size',
    preprocessor({
      tvf_resize_params: undefined,
      tvf_crop_params: undefined,
      input_sizes: [
        [3, 56, 56],
        [3, 56, 56],
      ],
    }),
    'CONFIG_INVALID',
    /image_sizes/,
  ],
  [
    'mean of two channels',
    preprocessor({
      tvf_normalize_params: undefined,
      means: [
        [0.5, 0.5],
        [0.5, 0.5, 0.5],
      ],
    }),
    'CONFIG_INVALID',
    /means/,
  ],
  [
    'deviation of 0',
    preprocessor({
      tvf_normalize_params: undefined,
      stds: [
        [0.5, 0.5, 0],
        [0.5, 0.5, 0.5],
      ],
    }),
    'CONFIG_INVALID',
    /positive/,
  ],
  ['no preprocessor', remove('preprocessor_config.json'), 'CHECKPOINT_FILE_MISSING', /preprocessor_config/],
  ['no vision archive', remove('vision_backbone--'), 'CHECKPOINT_FILE_MISSING', /vision_backbone--\*\.pt/],
  ['no action head', remove('action_head--'), 'CHECKPOINT_FILE_MISSING', /action_head--\*\.pt/],
  [
    'no Llama tokenizer',
    (dir) => [remove('tokenizer.json'), remove('tokenizer.model')].forEach((change) => void change(dir)),
    'CHECKPOINT_FILE_MISSING',
    /tokenizer\.json or tokenizer\.model/,
  ],
  [
    'no SigLIP tokenizer',
    (dir) => rmSync(join(dir, 'siglip-text-tiny', 'spiece.model')),
    'CHECKPOINT_FILE_MISSING',
    /spiece\.model/,
  ],
  [
    'no SigLIP config',
    (dir) => rmSync(join(dir, 'siglip-text-tiny', 'config.json')),
    'CHECKPOINT_FILE_MISSING',
    /siglip-text-tiny/,
  ],
  [
    'a CLIP text folder',
    (dir) =>
      editJson(join(dir, 'siglip-text-tiny'), 'config.json', (value) => ({ ...value, model_type: 'clip' })),
    'CONFIG_UNSUPPORTED',
    /"clip"/,
  ],
  [
    'two action heads',
    (dir) => cpSync(fileNamed(dir, 'action_head--'), join(dir, 'action_head--latest_checkpoint.pt')),
    'CHECKPOINT_AMBIGUOUS',
    /30000.*latest/,
  ],
  [
    'two vision archives',
    (dir) => cpSync(fileNamed(dir, 'vision_backbone--'), join(dir, 'vision_backbone--1_checkpoint.pt')),
    'CHECKPOINT_AMBIGUOUS',
    /vision_backbone--1_/,
  ],
  [
    'archive that is a folder',
    (dir) => {
      rmSync(fileNamed(dir, 'proprio_projector--'));
      mkdirSync(join(dir, 'proprio_projector--1_checkpoint.pt'));
    },
    'CHECKPOINT_FILE_MISSING',
    /regular file|EISDIR/,
  ],
  [
    'diffusion head without its projector',
    archive('action_head--', (tensors) => {
      tensors.clear();
      tensors.set('noise_predictor.mlp_resnet.fc1.weight', filled([4, 4]));
    }),
    'CHECKPOINT_FILE_MISSING',
    /noisy_action_projector/,
  ],
  [
    'diffusion head with merged action tokens',
    (dir) => {
      archive('action_head--', (tensors) => {
        tensors.clear();
        tensors.set('noise_predictor.mlp_resnet.fc1.weight', filled([4, 4]));
      })(dir);
      cpSync(fileNamed(dir, 'proprio_projector--'), join(dir, 'noisy_action_projector--1_checkpoint.pt'));
    },
    'CONFIG_UNSUPPORTED',
    /num_action_tokens: expected -1/,
  ],
  [
    'single head in a SemanticVLA config',
    archive('action_head--', (tensors) => {
      for (const [name, value] of [...tensors]) {
        tensors.delete(name);
        if (name.includes('model_trans')) tensors.set(name.replace('model_trans', 'model'), value);
      }
    }),
    'TENSOR_UNEXPECTED',
    /different policies/,
  ],
  [
    'head of other outputs',
    archive('action_head--', (tensors) => void tensors.set('module.model_rot.fc2.weight', filled([4, 56]))),
    'CONFIG_UNSUPPORTED',
    /3, 4, 1/,
  ],
  [
    'head tensor missing',
    archive('action_head--', (tensors) => void tensors.delete(bias)),
    'TENSOR_MISSING',
    /action_head\.model_rot\.fc1\.bias \[hidden width\]/,
  ],
  [
    'head tensor misshaped',
    archive('action_head--', (tensors) => void tensors.set(bias, filled([55]))),
    'TENSOR_SHAPE',
    /\[56\], found \[55\]/,
  ],
  [
    'head tensor left over',
    archive('action_head--', (tensors) => void tensors.set('module.model_rot.fc3.bias', filled([56]))),
    'TENSOR_UNEXPECTED',
    /fc3/,
  ],
  [
    'head tensor twice',
    archive('action_head--', (tensors) => void tensors.set(bias.slice('module.'.length), filled([56]))),
    'TORCH_ARCHIVE_INVALID',
    /both mean/,
  ],
  [
    'head of NaN',
    archive('action_head--', (tensors) => void tensors.set(bias, filled([56], Number.NaN))),
    'TENSOR_NOT_FINITE',
    /model_rot\.fc1\.bias/,
  ],
  [
    'head of Infinity',
    archive('action_head--', (tensors) => void tensors.set(bias, filled([56], Number.POSITIVE_INFINITY))),
    'TENSOR_NOT_FINITE',
    /model_rot\.fc1\.bias/,
  ],
  [
    'head of integers',
    archive('action_head--', (tensors) => {
      tensors.set(bias, { ...filled([56]), dtype: 'I32' });
    }),
    'TENSOR_DTYPE',
    /I32/,
  ],
  [
    'vision archive with a stranger',
    archive('vision_backbone--', (tensors) => void tensors.set('depth_encoder.weight', filled([2]))),
    'TENSOR_UNEXPECTED',
    /depth_encoder/,
  ],
  [
    'proprio of another width',
    archive('proprio_projector--', (tensors) => void tensors.set('module.fc2.weight', filled([56, 8]))),
    'TENSOR_SHAPE',
    /proprio_projector\.fc2\.weight/,
  ],
];

test(`${refusals.length} folders are refused by name`, () => requireRefused(refusals));

test.run();
