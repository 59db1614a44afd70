/**
 * Quantized checkpoints, refused by their name: bitsandbytes, GPTQ, AWQ, compressed-tensors, FP8 and the like hold other
 * numbers than the weights, which only their own libraries can decode.
 */

import { join } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { isThere } from '../support/fileAccess.ts';
import type { JsonFields } from './jsonFields.ts';

/** `quant_method` of config.json, and how it is written. */
const methods: Readonly<Record<string, string>> = {
  bitsandbytes: 'bitsandbytes',
  gptq: 'GPTQ',
  awq: 'AWQ',
  aqlm: 'AQLM',
  autoround: 'AutoRound',
  'auto-round': 'AutoRound',
  bitnet: 'BitNet',
  'compressed-tensors': 'compressed-tensors',
  compressed_tensors: 'compressed-tensors',
  eetq: 'EETQ',
  fbgemm_fp8: 'FBGEMM FP8',
  fp8: 'FP8',
  finegrained_fp8: 'FP8',
  higgs: 'HIGGS',
  hqq: 'HQQ',
  modelopt: 'TensorRT Model Optimizer',
  mxfp4: 'MXFP4',
  quanto: 'Quanto',
  quark: 'Quark',
  spqr: 'SpQR',
  torchao: 'torchao',
  vptq: 'VPTQ',
};

/** Files whose presence shows a method. */
const files: Readonly<Record<string, string>> = {
  'quantize_config.json': 'GPTQ',
  'quant_config.json': 'AWQ',
  'hf_quant_config.json': 'TensorRT Model Optimizer',
  'quanto_qmap.json': 'Quanto',
};

/** Suffixes of tensor names that only quantized files have. */
const endings: readonly (readonly [RegExp, string])[] = [
  [/\.(quant_state\.bitsandbytes__\w+|(nested_)?absmax|(nested_)?quant_map)$/, 'bitsandbytes (4 bit)'],
  [/\.(SCB|weight_format)$/, 'bitsandbytes (8 bit)'],
  [/\.(g_idx)$/, 'GPTQ'],
  [/\.(qweight|qzeros)$/, 'GPTQ or AWQ'],
  [/\.(weight_packed|weight_zero_point|weight_global_scale|weight_shape)$/, 'compressed-tensors'],
  [/\.(weight_scale_inv|weight_scale|input_scale)$/, 'FP8'],
  [/\.(W_q|W_q_meta)$/, 'HQQ'],
  [/\.weight\.?_(data|scale|shift)$/, 'Quanto'],
  [/\.(weight_blocks|weight_scales|(gate_up|down)_proj_(blocks|scales))$/, 'MXFP4'],
  [/\.(codebooks|codes)$/, 'AQLM'],
];

/** @throws (rejects) CONFIG_UNSUPPORTED what config.json or a file beside it says */
export async function refuseQuantizedConfig(dir: string, config: JsonFields): Promise<void> {
  for (const key of ['quantization_config', 'compression_config']) {
    if (!config.has(key)) continue;
    const found = methodOf(config.object(key));
    if (found !== null) throw refused(config.file, `${key}: expected none`, `${found} weights`);
  }
  for (const [name, method] of Object.entries(files)) {
    if (await isThere(join(dir, name), 'CHECKPOINT_FILE_MISSING'))
      throw refused(join(dir, name), 'expected plain weights', `the settings of ${method} weights`);
  }
}

/** null: named, but switched off. */
function methodOf(fields: JsonFields): string | null {
  const four = fields.get('load_in_4bit') === true || fields.get('_load_in_4bit') === true;
  const eight = fields.get('load_in_8bit') === true || fields.get('_load_in_8bit') === true;
  const bits = four ? ' (4 bit)' : eight ? ' (8 bit)' : bitsOf(fields);
  const method = fields.get('quant_method') ?? (four || eight ? 'bitsandbytes' : undefined);
  if (typeof method !== 'string') {
    return Object.keys(fields.value).length === 0 ? null : `quantized${bits}`;
  }
  if (method === 'bitsandbytes' && !four && !eight && fields.has('load_in_4bit')) return null;
  return `${Object.hasOwn(methods, method) ? methods[method] : JSON.stringify(method)}${bits}`;
}

function bitsOf(fields: JsonFields): string {
  const bits = fields.get('bits') ?? fields.get('w_bit');
  return typeof bits === 'number' ? ` (${bits} bit)` : '';
}

/** @param tensors names, and the file that holds each  @throws CONFIG_UNSUPPORTED what names of tensors tell */
export function refuseQuantizedTensors(tensors: ReadonlyMap<string, { readonly file: string }>): void {
  for (const [name, { file }] of tensors) {
    const method = endings.find(([pattern]) => pattern.test(name))?.[1];
    if (method !== undefined)
      throw refused(file, `${name}: expected plain weights`, `a tensor of ${method} weights`);
  }
}

function refused(file: string, expected: string, found: string): SemanticVlaError {
  return new SemanticVlaError(
    'CONFIG_UNSUPPORTED',
    `${file}: ${expected}, found ${found}. Quantized checkpoints are not read: save the policy unquantized, in bfloat16 (load it without load_in_4bit, load_in_8bit or quantization_config), and pass that folder.`,
  );
}
