/** The SigLIP text folder: where it is, and what its config says. */

import { basename, isAbsolute, join, resolve, sep } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { nothing, whatIsAt } from '../support/fileAccess.ts';
import { JsonFields } from './jsonFields.ts';
import type { TextEncoderConfig } from './policyConfig.ts';

/**
 * Finds the folder: the caller's, else `text_encoder_path` (relative: to the checkpoint), else its last component inside
 * the checkpoint. CHECKPOINT_FILE_MISSING with every place that was looked at; CONFIG_INVALID without a path.
 */
export async function findSiglipText(
  dir: string,
  tower: JsonFields,
  explicit: string | undefined,
): Promise<string> {
  if (explicit !== undefined) {
    const found = await whatIsAt(explicit);
    if (found === 'a folder') return resolve(explicit);
    throw new SemanticVlaError(
      'CHECKPOINT_FILE_MISSING',
      `${explicit}: expected the SigLIP text folder given as option siglipText, found ${found}.`,
    );
  }
  if (!tower.has('text_encoder_path')) {
    throw tower.error(
      'text_encoder_path',
      'the folder of the SigLIP text encoder, because use_mm_sampler is true',
    );
  }
  const stated = tower.string('text_encoder_path');
  const places = [...new Set([isAbsolute(stated) ? stated : join(dir, stated), join(dir, basename(stated))])];
  const seen: string[] = [];
  for (const place of stated === '' ? [] : places) {
    const found = await whatIsAt(place);
    if (found === 'a folder') return resolve(place);
    // An absolute path is that of the training machine; if it cannot be read here, the copy beside the weights is used.
    if (found !== nothing && place.startsWith(`${dir}${sep}`)) {
      throw new SemanticVlaError(
        'CHECKPOINT_FILE_MISSING',
        `${place}: expected the SigLIP text folder, found ${found}. Copy that folder (spiece.model, config.json) there or pass the option siglipText.`,
      );
    }
    seen.push(`${place} (${found})`);
  }
  throw new SemanticVlaError(
    'CHECKPOINT_FILE_MISSING',
    `${tower.file}: ${tower.name('text_encoder_path')} names the SigLIP text folder ${JSON.stringify(stated)}; expected it at ${places.join(' or ')}, found neither${seen.length === 0 ? '' : `: ${seen.join(', ')}`}. Copy that folder (spiece.model, config.json) into the checkpoint or pass the option siglipText.`,
  );
}

/** Text tower of `folder`'s config.json; absent fields are SiglipTextConfig's defaults (transformers 4.40). */
export async function readTextEncoder(folder: string): Promise<TextEncoderConfig> {
  const root = await JsonFields.read(
    join(folder, 'config.json'),
    'CHECKPOINT_FILE_MISSING',
    'CONFIG_INVALID',
  );
  const type = root.string('model_type');
  if (type !== 'siglip' && type !== 'siglip_text_model') {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${root.file}: model_type: expected "siglip", found ${JSON.stringify(type)}. Only SigLIP text encoders are supported.`,
    );
  }
  const isWhole = type === 'siglip';
  // A whole SigLIP config without text_config means the defaults throughout; a text model's config is flat.
  const text = isWhole
    ? root.has('text_config')
      ? root.object('text_config')
      : new JsonFields(root.file, 'text_config', {}, 'CONFIG_INVALID')
    : root;
  const activation = text.string('hidden_act', 'gelu_pytorch_tanh');
  if (activation !== 'gelu_pytorch_tanh') {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${root.file}: ${text.name('hidden_act')}: expected "gelu_pytorch_tanh", found ${JSON.stringify(activation)}.`,
    );
  }
  const width = text.integer('hidden_size', 1, 65_536, 768);
  const heads = text.integer('num_attention_heads', 1, 256, 12);
  if (width % heads !== 0) throw text.error('num_attention_heads', `a divisor of hidden_size ${width}`);
  return {
    folder,
    width,
    layers: text.integer('num_hidden_layers', 1, 1000, 12),
    heads,
    mlpWidth: text.integer('intermediate_size', 1, 1_000_000, 3072),
    vocabSize: text.integer('vocab_size', 2, 10_000_000, 32_000),
    positions: text.integer('max_position_embeddings', 1, 100_000, 64),
    layerNormEps: text.positive('layer_norm_eps', 1e-6),
  };
}
