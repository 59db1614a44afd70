/**
 * The last check. It sees exactly the numbers about to be sent, the last HOLD included, whatever was computed before: there
 * must be as many as the robot has dimensions, each finite, inside its range, and inside its workspace. It changes nothing; what
 * fails is held.
 */

import { isWithin, type LimitRule } from './limitRules.ts';

export interface Refused {
  readonly reason: 'notFinite' | 'outOfRange';
  /** Name of the dimension. */
  readonly dimension: string;
}

export class Gate {
  readonly #rules: readonly LimitRule[];

  constructor(rules: readonly LimitRule[]) {
    this.#rules = rules;
  }

  /**
   * @param values [A] about to be sent
   * @param positions [A] where the robot is, in state units; used only for deltas with a workspace
   * @returns why the values must not be sent; null: they may
   */
  refuses(values: ArrayLike<number>, positions: ArrayLike<number>): Refused | null {
    if (values.length !== this.#rules.length)
      return { reason: 'notFinite', dimension: this.#rules[0]!.dimension.name };
    for (const [d, rule] of this.#rules.entries()) {
      const value = values[d]!;
      const { name } = rule.dimension;
      if (!Number.isFinite(value)) return { reason: 'notFinite', dimension: name };
      if (!isWithin(value, rule.hard, 0) || !staysInside(value, positions[d]!, rule))
        return { reason: 'outOfRange', dimension: name };
    }
    return null;
  }
}

/** A delta must end in the workspace, or no farther out than the robot is now; standing still is always allowed. */
function staysInside(value: number, position: number, rule: LimitRule): boolean {
  const { dimension, workspace, needsPosition } = rule;
  if (dimension.kind !== 'delta' || !needsPosition || value === 0) return true;
  const next = position + dimension.state!.scale * value;
  const [low, high] = workspace;
  const rounding = 1e-12 * (Math.abs(position) + Math.abs(next));
  return isWithin(next, [Math.min(low, position), Math.max(high, position)], rounding);
}
