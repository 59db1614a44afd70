/** engines/*.json: one small file per device, naming precision and builder options. Every value can be overridden. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Precision } from '../graph/onnxModel.ts';
import { type Tier, tierFormats, tiers } from '../graph/tiers.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { nearest } from '../support/options.ts';
import { type TensorRtFamily, tensorRtFamilies } from './tensorRtPlaces.ts';

/** Prompt tokens P that an engine takes; equal numbers fix it. */
export interface PromptRange {
  readonly min: number;
  readonly opt: number;
  readonly max: number;
}

export type EngineWeights = 'bound' | 'baked';

export interface Recipe {
  /** The name of its file. */
  readonly name: string;
  readonly description: string;
  /** 10 * major + minor: 87. */
  readonly computeCapability: number;
  /** Families that build for it, the best first. */
  readonly families: readonly TensorRtFamily[];
  readonly precision: Precision;
  readonly weights: EngineWeights;
  /** null: TensorRT's default. */
  readonly optimizationLevel: number | null;
  readonly workspaceBytes: number | null;
  readonly promptLength: PromptRange;
}

// Relative to lib/engine and to dist/engine alike.
const folder = fileURLToPath(new URL('../../engines', import.meta.url));

export function recipeNames(): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => name.slice(0, -'.json'.length))
    .sort();
}

/** @throws OPTION_INVALID */
export function readRecipe(name: string): Recipe {
  const names = recipeNames();
  if (!names.includes(name)) {
    const meant = nearest(name, names);
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Recipe ${name}: expected one of ${names.join(', ')}${meant === null ? '' : `; ${meant} was probably meant`}.`,
    );
  }
  return checkRecipe(
    join(folder, `${name}.json`),
    JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')),
  );
}

/** @throws OPTION_INVALID naming file and field */
export function checkRecipe(file: string, value: unknown): Recipe {
  const recipe = value as Recipe;
  const wrong = (field: string, expected: string, found: unknown): SemanticVlaError =>
    new SemanticVlaError(
      'OPTION_INVALID',
      `${file}: ${field}: expected ${expected}, found ${JSON.stringify(found)}.`,
    );
  const positive = (n: unknown): boolean => Number.isInteger(n) && (n as number) > 0;
  if (typeof value !== 'object' || value === null) throw wrong('recipe', 'an object', value);
  const { computeCapability, families, precision, weights, optimizationLevel, workspaceBytes, promptLength } =
    recipe;
  if (!positive(computeCapability)) throw wrong('computeCapability', 'a number like 89', computeCapability);
  const known = (family: TensorRtFamily): boolean => tensorRtFamilies.includes(family);
  if (!Array.isArray(families) || families.length === 0 || !families.every(known)) {
    throw wrong('families', `some of ${tensorRtFamilies.join(', ')}`, families);
  }
  if (!precisions.includes(precision)) throw wrong('precision', precisions.join(', '), precision);
  if (weights !== 'bound' && weights !== 'baked') throw wrong('weights', 'bound or baked', weights);
  if (
    optimizationLevel !== null &&
    !(Number.isInteger(optimizationLevel) && optimizationLevel >= 0 && optimizationLevel <= 5)
  ) {
    throw wrong('optimizationLevel', '0..5 or null', optimizationLevel);
  }
  if (workspaceBytes !== null && !positive(workspaceBytes))
    throw wrong('workspaceBytes', 'bytes or null', workspaceBytes);
  checkPromptRange(promptLength, `${file}: promptLength`);
  return recipe;
}

export const precisions: readonly Precision[] = ['bfloat16', 'float16', 'float32'];

/** @param capability of the device that runs it  @throws OPTION_INVALID */
export function requireTier(tier: Tier, capability: number): void {
  const computes = (name: Tier): boolean => tierFormats[name].leastCapability <= capability;
  if (computes(tier)) return;
  const others = ['bfloat16', 'float16', ...tiers.filter(computes)].join(', ');
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `precision ${tier}: expected compute capability sm_${tierFormats[tier].leastCapability} or newer, whose tensor cores multiply ${tierFormats[tier].product}, found sm_${capability}. Choose one of ${others}.`,
  );
}

/** @throws OPTION_INVALID */
export function checkPromptRange(range: PromptRange, name: string): void {
  const { min, opt, max } = range ?? {};
  const isRange = [min, opt, max].every((n) => Number.isInteger(n) && n >= 2) && min <= opt && opt <= max;
  if (isRange) return;
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `${name}: expected prompt tokens 2 <= min <= opt <= max, found ${JSON.stringify(range)}.`,
  );
}
