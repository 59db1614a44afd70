/** preprocessor_config.json: the image size and each tower's pixel normalization. */

import { SemanticVlaError } from '../support/errors.ts';
import { JsonFields } from './jsonFields.ts';
import type { PixelNormalization } from './policyConfig.ts';
import { isJsonArray, isJsonObject, type JsonValue } from './strictJson.ts';

/** Side of the frames that the processor is given. */
const frameSide = 224;
/** Pillow's number of it. */
const bicubic = 3;

export interface Preprocessor {
  /** Side of the square image, pixels; the same for both towers. */
  readonly imageSize: number;
  readonly dinov2: PixelNormalization;
  readonly siglip: PixelNormalization;
}

/** Reads `file` (absolute path). CHECKPOINT_FILE_MISSING, CONFIG_INVALID, CONFIG_UNSUPPORTED. */
export async function readPreprocessor(file: string): Promise<Preprocessor> {
  const fields = await JsonFields.read(file, 'CHECKPOINT_FILE_MISSING', 'CONFIG_INVALID');
  const strategy = fields.string('image_resize_strategy');
  if (strategy !== 'resize-naive' || fields.boolean('tvf_do_letterbox', false)) {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${file}: image_resize_strategy: expected "resize-naive" (the only one the policies are trained with), found ${JSON.stringify(strategy)}${strategy === 'resize-naive' ? ' with tvf_do_letterbox' : ''}.`,
    );
  }
  const side = imageSize(fields);
  requireTransform(fields, side);
  return {
    imageSize: side,
    dinov2: normalization(fields, 0),
    siglip: normalization(fields, 1),
  };
}

function imageSize(fields: JsonFields): number {
  const sizes = fields.array('input_sizes');
  if (sizes.length !== 2) throw fields.error('input_sizes', 'two sizes [3, height, width], one a tower');
  const sides = sizes.map((size) => {
    const isSquare = isJsonArray(size) && size.length === 3 && size[0] === 3 && size[1] === size[2];
    const side = isSquare ? size[1] : undefined;
    if (typeof side !== 'number' || !Number.isInteger(side) || side < 1 || side > 4096) {
      throw fields.error('input_sizes', 'two square sizes [3, side, side]');
    }
    return side;
  });
  if (sides[0] !== sides[1]) {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${fields.file}: input_sizes: expected the same image size for both towers, found ${sides.join(' and ')}.`,
    );
  }
  return sides[0]!;
}

/**
 * What the processor does to an image besides normalizing it. It computes these from the sizes and then lets the file
 * override them. At 224 pixels, the size of the frames it is given, the resize does nothing.
 */
function requireTransform(fields: JsonFields, side: number): void {
  for (const [list, key, expected] of [
    ['tvf_resize_params', 'size', [side, side]],
    ['tvf_crop_params', 'output_size', [side, side]],
    ...(side === frameSide
      ? []
      : ([
          ['tvf_resize_params', 'interpolation', bicubic],
          ['tvf_resize_params', 'max_size', null],
        ] as const)),
  ] as const) {
    if (!fields.has(list)) continue;
    for (const [tower, entry] of fields.array(list).entries()) {
      const found = isJsonObject(entry) ? entry[key] : undefined;
      if (found === undefined || JSON.stringify(found) === JSON.stringify(expected)) continue;
      throw new SemanticVlaError(
        'CONFIG_UNSUPPORTED',
        `${fields.file}: ${list}[${tower}].${key}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}.`,
      );
    }
  }
  if (fields.has('tvf_resize_params') || side === frameSide || !fields.has('interpolations')) return;
  if (fields.array('interpolations').some((name) => name !== 'bicubic')) {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${fields.file}: interpolations: expected "bicubic", found ${JSON.stringify(fields.get('interpolations'))}.`,
    );
  }
}

/** `tvf_normalize_params[i]`, which the processor uses; where they are absent, `means[i]` and `stds[i]`, of which it makes them. */
function normalization(fields: JsonFields, tower: number): PixelNormalization {
  const mean = channels(fields, 'means', 'mean', tower);
  const std = channels(fields, 'stds', 'std', tower);
  if (std.some((value) => value <= 0)) throw fields.error('stds', 'positive deviations');
  return { mean, std };
}

function channels(fields: JsonFields, list: string, param: string, tower: number): [number, number, number] {
  const key = fields.has('tvf_normalize_params') ? 'tvf_normalize_params' : list;
  const towers = fields.array(key);
  if (towers.length !== 2) throw fields.error(key, 'two entries, one a tower');
  const entry: JsonValue | undefined = towers[tower];
  const value = key === list ? entry : isJsonObject(entry) ? entry[param] : undefined;
  const numbers = isJsonArray(value)
    ? value.filter((x): x is number => typeof x === 'number' && Number.isFinite(x))
    : [];
  if (!isJsonArray(value) || value.length !== 3 || numbers.length !== 3) {
    throw fields.error(key, 'three finite numbers a tower (red, green, blue)');
  }
  return [numbers[0]!, numbers[1]!, numbers[2]!];
}
