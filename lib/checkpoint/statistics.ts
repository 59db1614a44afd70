/**
 * Normalization statistics by dataset key: `dataset_statistics.json`, which supersedes `norm_stats` of config.json.
 *
 * Refused with STATISTICS_INVALID, in every dataset of the file: lists of different lengths, numbers that are not finite,
 * q01 > q99 or min > max anywhere, and q01 = q99 or min = max on an action dimension that is un-normalized (mask true):
 * such a dimension can only ever give one value, so the file is damaged or belongs to something else; a dimension that is
 * constant on purpose is marked `mask: false`. Proprioception may be constant (padding dimensions are): a constant
 * dimension normalizes to -1 there, in training as here.
 */

import { SemanticVlaError } from '../errors.ts';
import type { Bounds, DatasetStatistics } from './checkpoint.ts';
import type { JsonFields } from './jsonFields.ts';

/** More than any robot's action or state. */
const maxDimensions = 256;

/** `fields`: the object whose keys are datasets. */
export function readStatistics(fields: JsonFields): Map<string, DatasetStatistics> {
  const out = new Map<string, DatasetStatistics>();
  for (const key of Object.keys(fields.value)) {
    const dataset = fields.object(key);
    if (!dataset.has('action')) throw dataset.error('action', 'statistics of the actions');
    out.set(key, {
      action: bounds(dataset.object('action'), true),
      proprio: dataset.has('proprio') ? bounds(dataset.object('proprio'), false) : null,
    });
  }
  if (out.size === 0) {
    throw new SemanticVlaError(
      'STATISTICS_INVALID',
      `${fields.file}: expected at least one dataset with statistics${fields.path === '' ? '' : ` under ${fields.path}`}, found none. Copy dataset_statistics.json from the training run.`,
    );
  }
  return out;
}

function bounds(fields: JsonFields, isAction: boolean): Bounds {
  const q01 = fields.numbers('q01');
  if (q01.length === 0 || q01.length > maxDimensions)
    throw fields.error('q01', `1 to ${maxDimensions} numbers`);
  const q99 = fields.numbers('q99', q01.length);
  const min = fields.numbers('min', q01.length);
  const max = fields.numbers('max', q01.length);
  const mask = readMask(fields, q01.length);
  for (const [low, high, lowName, highName] of [
    [q01, q99, 'q01', 'q99'],
    [min, max, 'min', 'max'],
  ] as const) {
    low.forEach((value, i) => {
      const isEmpty = value === high[i] && isAction && mask[i] === true;
      if (value > high[i]! || isEmpty) throw inverted(fields, i, lowName, highName, value, high[i]!);
    });
  }
  return { q01, q99, min, max, mask };
}

function readMask(fields: JsonFields, length: number): boolean[] {
  if (!fields.has('mask')) return new Array<boolean>(length).fill(true);
  const mask = fields.array('mask').filter((value): value is boolean => typeof value === 'boolean');
  if (mask.length !== length || fields.array('mask').length !== length)
    throw fields.error('mask', `${length} times true or false`);
  return mask;
}

function inverted(
  fields: JsonFields,
  i: number,
  lowName: string,
  highName: string,
  low: number,
  high: number,
): SemanticVlaError {
  return new SemanticVlaError(
    'STATISTICS_INVALID',
    `${fields.file}: ${fields.path}: dimension ${i}: expected ${lowName} < ${highName}, found ${low} and ${high}. Copy the statistics of the training run; a dimension that is constant on purpose needs mask false.`,
  );
}
