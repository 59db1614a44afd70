/** HeadConfig from the tensors of the action head, or of action tokens. */

import { SemanticVlaError } from '../support/errors.ts';
import { decideHead, type HeadEvidence } from './decideHead.ts';
import { noisePredictor } from './expectedTensors.ts';
import type { JsonFields } from './jsonFields.ts';
import type { HeadConfig, LlamaConfig, PolicyFamily, TokenHead } from './policyConfig.ts';
import { countNumbered, requireShape, type Shapes } from './shapes.ts';

export interface DerivedHead {
  readonly head: HeadConfig;
  /** H; null when only the statistics can tell (token ids, one a dimension). */
  readonly actionTokensPerStep: number | null;
  readonly actionDim: number | null;
}

export interface HeadInputs extends HeadEvidence {
  /** config.json */
  readonly config: JsonFields;
  readonly family: PolicyFamily;
  readonly llama: LlamaConfig;
}

/** What `decideHead` throws, TENSOR_*, CONFIG_*. */
export function deriveHead(evidence: HeadInputs): DerivedHead {
  const { config, family, llama, shapes, actionHead: file } = evidence;
  // -1: one token per dimension of the action. OpenVLA-OFT has no other form.
  const stated = family === 'openvla-oft' ? -1 : config.integer('num_action_tokens', -1, 1024, -1);
  if (stated === 0) throw config.error('num_action_tokens', '-1 (the action dimension) or a positive number');
  if (file === null && stated > 0) throw needsHead(config, stated);
  const kind = decideHead(evidence);
  if (kind === 'discrete' || kind === 'autoregressive' || file === null)
    return tokenHead(kind === 'autoregressive' ? kind : 'discrete', config, llama);
  if (kind === 'diffusion') {
    if (stated > 0) throw mergedDiffusion(config, stated, file);
    return diffusionHead(file, shapes, llama);
  }
  const isSplit = shapes.has('action_head.model_trans.fc1.weight');
  const first = isSplit ? 'model_trans' : 'model';
  const [hiddenWidth, inputs] = requireShape(
    shapes,
    `action_head.${first}.fc1.weight`,
    '[hidden width, action tokens*llm width]',
    2,
    file,
  ) as [number, number];
  const blocks = countNumbered(shapes, `action_head.${first}.mlp_resnet_blocks`);
  const outputs = (model: string) =>
    requireShape(shapes, `action_head.${model}.fc2.weight`, '[outputs, hidden width]', 2, file)[0]!;
  const tokens = inputs / llama.width;
  if (!Number.isInteger(tokens) || (stated > 0 && tokens !== stated)) {
    throw new SemanticVlaError(
      'TENSOR_SHAPE',
      `${file}: action_head.${first}.fc1.weight: expected inputs ${stated > 0 ? `num_action_tokens*llm width = ${stated * llama.width}` : `a multiple of the llm width ${llama.width}`}, found ${inputs}. The head belongs to another config.json.`,
    );
  }
  requireFamily(family, isSplit, file);
  const head: HeadConfig = isSplit
    ? splitHead(
        file,
        hiddenWidth,
        blocks,
        outputs('model_trans'),
        outputs('model_rot'),
        outputs('model_grip'),
      )
    : { kind: 'single', hiddenWidth, blocks, outputs: outputs('model') };
  const actionDim =
    head.kind === 'split' ? head.translation + head.rotation + head.gripper : outputs('model');
  if (stated === -1 && tokens !== actionDim) {
    throw new SemanticVlaError(
      'TENSOR_SHAPE',
      `${file}: action_head.${first}.fc1.weight: expected one token for each of the ${actionDim} action dimensions, ${actionDim * llama.width} inputs, found ${inputs}. The head belongs to another config.json.`,
    );
  }
  return { head, actionTokensPerStep: tokens, actionDim };
}

/** The absence of SemanticVLA's keys marks OpenVLA-OFT, and with it the single head (docs/model.md, Variants). */
function requireFamily(family: PolicyFamily, isSplit: boolean, file: string): void {
  if ((family === 'semanticvla') === isSplit) return;
  const [expected, found] = isSplit
    ? ['model.*', 'model_trans.*, model_rot.*, model_grip.*']
    : ['model_trans.*, model_rot.*, model_grip.*', 'model.*'];
  throw new SemanticVlaError(
    'TENSOR_UNEXPECTED',
    `${file}: config.json is that of ${family === 'semanticvla' ? 'SemanticVLA' : 'OpenVLA-OFT'}, whose head is ${expected}; found ${found}. Config and head come from different policies.`,
  );
}

function splitHead(
  file: string,
  hiddenWidth: number,
  blocks: number,
  translation: number,
  rotation: number,
  gripper: number,
): HeadConfig {
  if ((gripper !== 1 && gripper !== 2) || translation !== 3 * gripper || rotation !== 3 * gripper) {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${file}: expected heads for translation, rotation, gripper of 3, 3, 1 outputs (one arm) or 6, 6, 2 (two arms), found ${translation}, ${rotation}, ${gripper}.`,
    );
  }
  return { kind: 'split', hiddenWidth, blocks, translation, rotation, gripper, bimanual: gripper === 2 };
}

/** The noise predictor: the single MLP, one token a dimension, in every family. */
function diffusionHead(file: string, shapes: Shapes, llama: LlamaConfig): DerivedHead {
  const model = `action_head.${noisePredictor}`;
  const [hiddenWidth, inputs] = requireShape(
    shapes,
    `${model}.fc1.weight`,
    '[hidden width, action dim*llm width]',
    2,
    file,
  ) as [number, number];
  const [outputs] = requireShape(shapes, `${model}.fc2.weight`, '[action dim, hidden width]', 2, file) as [
    number,
    number,
  ];
  if (inputs !== outputs * llama.width) {
    throw new SemanticVlaError(
      'TENSOR_SHAPE',
      `${file}: ${model}.fc1.weight: expected one token for each of the ${outputs} action dimensions, ${outputs * llama.width} inputs, found ${inputs}. The head belongs to another config.json.`,
    );
  }
  const blocks = countNumbered(shapes, `${model}.mlp_resnet_blocks`);
  return {
    head: { kind: 'diffusion', hiddenWidth, blocks, outputs },
    actionTokensPerStep: outputs,
    actionDim: outputs,
  };
}

function mergedDiffusion(config: JsonFields, stated: number, file: string): SemanticVlaError {
  return new SemanticVlaError(
    'CONFIG_UNSUPPORTED',
    `${config.file}: num_action_tokens: expected -1 (one token for each action dimension), since ${file} is a diffusion head, found ${stated}. The reference refuses diffusion with merged action tokens.`,
  );
}

function needsHead(config: JsonFields, stated: number): SemanticVlaError {
  return new SemanticVlaError(
    'CHECKPOINT_FILE_MISSING',
    `${config.file}: num_action_tokens is ${stated}, so actions come from an action head; expected one file action_head--*.pt, found none. Copy it from the training run.`,
  );
}

function tokenHead(kind: TokenHead['kind'], config: JsonFields, llama: LlamaConfig): DerivedHead {
  // OpenVLA pads the vocabulary to a multiple; action ids count down from the last real one.
  const padding = config.integer('pad_to_multiple_of', 0, llama.vocabSize - 1, 64);
  return {
    head: {
      kind,
      bins: config.integer('n_action_bins', 2, llama.vocabSize, 256),
      tokenVocab: llama.vocabSize - padding,
    },
    actionTokensPerStep: null,
    actionDim: null,
  };
}
