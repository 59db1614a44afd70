/** Declares ROS parameters on a node and checks what a launch file gave for them. */

import { SemanticVlaError } from '../support/errors.ts';
import { nearest } from '../support/options.ts';
import type { RosModule, RosNode } from './rosInterface.ts';

/** Every method declares one parameter, once, and returns its value. @throws OPTION_INVALID naming the parameter */
export class ParameterReader {
  readonly #ros: RosModule;
  readonly #node: RosNode;

  constructor(ros: RosModule, node: RosNode) {
    this.#ros = ros;
    this.#node = node;
  }

  text(name: string, preset: string): string {
    const value = this.#declare(name, this.#ros.ParameterType.PARAMETER_STRING, preset);
    if (typeof value === 'string') return value;
    throw invalidParameter(name, 'a string', value);
  }

  /** Finite and not negative. */
  number(name: string, preset: number): number {
    const value = this.#declare(name, this.#ros.ParameterType.PARAMETER_DOUBLE, preset);
    if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
    throw invalidParameter(name, 'a number (with a decimal point) >= 0', value);
  }

  list(name: string, preset: readonly string[]): readonly string[] {
    const value = this.#declare(name, this.#ros.ParameterType.PARAMETER_STRING_ARRAY, [...preset]);
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    throw invalidParameter(name, 'a list of strings', value);
  }

  /** Finite; rclnodejs gives a list or a Float64Array. */
  numbers(name: string, preset: readonly number[]): readonly number[] {
    const value = this.#declare(name, this.#ros.ParameterType.PARAMETER_DOUBLE_ARRAY, [...preset]);
    const isList = Array.isArray(value) || value instanceof Float64Array;
    const numbers: unknown[] = isList ? Array.from(value as ArrayLike<unknown>) : [];
    if (isList && numbers.every(Number.isFinite)) return numbers as number[];
    throw invalidParameter(name, 'a list of numbers (with decimal points)', value);
  }

  /** @throws OPTION_REQUIRED if it has no preset and none was given */
  choice<T extends string>(name: string, preset: T | '', choices: readonly T[]): T {
    const value = this.text(name, preset);
    const chosen = choices.find((item) => item === value);
    if (chosen !== undefined) return chosen;
    if (value === '') throw requiredParameter(name, choices.join(', '));
    const meant = nearest(value, choices);
    const hint = meant === null ? '' : ` Did you mean ${meant}?`;
    throw invalidParameter(name, `one of ${choices.join(', ')}`, value, hint);
  }

  #declare(name: string, type: number, value: unknown): unknown {
    return this.#node.declareParameter(new this.#ros.Parameter(name, type, value)).value;
  }
}

export function requiredParameter(name: string, choices: string): SemanticVlaError {
  return new SemanticVlaError(
    'OPTION_REQUIRED',
    `Parameter ${name}: expected a value (${choices}), found none.`,
  );
}

export function invalidParameter(name: string, wanted: string, value: unknown, hint = ''): SemanticVlaError {
  const found = JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}` : v));
  return new SemanticVlaError(
    'OPTION_INVALID',
    `Parameter ${name}: expected ${wanted}, found ${found}.${hint}`,
  );
}
