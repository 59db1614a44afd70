/** LlamaConfig from `text_config`; what is absent has the defaults of transformers' LlamaConfig (4.40), which are Llama-2 7B's. */

import { SemanticVlaError } from '../support/errors.ts';
import { JsonFields } from './jsonFields.ts';
import type { LlamaConfig } from './policyConfig.ts';

export function deriveLlama(config: JsonFields): LlamaConfig {
  const text = config.has('text_config')
    ? config.object('text_config')
    : new JsonFields(config.file, 'text_config', {}, 'CONFIG_INVALID');
  refuse(text, 'model_type', 'llama', text.get('model_type') ?? 'llama');
  refuse(text, 'hidden_act', 'silu', text.get('hidden_act') ?? 'silu');
  refuse(text, 'rope_scaling', null, text.get('rope_scaling') ?? null);
  refuse(text, 'attention_bias', false, text.get('attention_bias') ?? false);
  refuse(text, 'mlp_bias', false, text.get('mlp_bias') ?? false);
  refuse(text, 'tie_word_embeddings', false, text.get('tie_word_embeddings') ?? false);
  refuse(text, 'pretraining_tp', 1, text.get('pretraining_tp') ?? 1);

  const width = text.integer('hidden_size', 1, 65_536, 4096);
  const heads = text.integer('num_attention_heads', 1, 1024, 32);
  const kvHeads = text.integer('num_key_value_heads', 1, 1024, heads);
  if (width % heads !== 0) throw text.error('num_attention_heads', `a divisor of hidden_size ${width}`);
  if (heads % kvHeads !== 0)
    throw text.error('num_key_value_heads', `a divisor of num_attention_heads ${heads}`);
  const headDim = width / heads;
  if (headDim % 2 !== 0)
    throw text.error('num_attention_heads', 'an even head size (rotary embedding turns pairs)');
  refuse(text, 'head_dim', headDim, text.get('head_dim') ?? headDim);
  return {
    width,
    layers: text.integer('num_hidden_layers', 1, 1000, 32),
    heads,
    kvHeads,
    headDim,
    mlpWidth: text.integer('intermediate_size', 1, 1_000_000, 11_008),
    vocabSize: text.integer('vocab_size', 2, 10_000_000, 32_000),
    rmsNormEps: text.positive('rms_norm_eps', 1e-6),
    ropeTheta: text.positive('rope_theta', 10_000),
    maxPositions: text.integer('max_position_embeddings', 1, 10_000_000, 2048),
  };
}

function refuse(text: JsonFields, key: string, expected: unknown, found: unknown): void {
  if (JSON.stringify(found) !== JSON.stringify(expected)) {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${text.file}: ${text.name(key)}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}. The language model of these policies is Llama 2.`,
    );
  }
}
