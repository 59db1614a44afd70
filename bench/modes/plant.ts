/**
 * One joint that follows commands with a lag, a target that jumps now and then, and a policy that sees both: it plans an
 * exponential approach from where the joint was seen to where the target was seen. Each plan is a little wrong, each in its
 * own way, as learned policies are: that is what makes seams between chunks.
 */

import type { ActionSpace } from '../../lib/schedule/actionSpace.ts';
import type { SimulatedCall } from '../../lib/schedule/simulatedPolicy.ts';
import type { Random } from '../../lib/support/random.ts';
import type { Observation } from '../../lib/types.ts';

export const plantSpace: ActionSpace = {
  name: 'joint',
  dimensions: [{ name: 'joint', kind: 'position', unit: 'rad', state: { index: 0, scale: 1 } }],
};

/** ms in which a plan covers 63 % of the way to the target. */
const approach = 250;
/** ms in which the joint covers 63 % of the way to its command. */
const lag = 40;
/** Standard deviation of where a plan thinks the target is, rad. */
const disagreement = 0.03;

export class Plant {
  readonly #period: number;
  readonly #chunk: number;
  readonly #targets: Random;
  #position = 0;
  #command = 0;
  #now = 0;
  #target = 0;
  #nextJump = 1500;

  /** @param targets where and when the target jumps: the same for every mode */
  constructor(period: number, chunk: number, targets: Random) {
    this.#period = period;
    this.#chunk = chunk;
    this.#targets = targets;
  }

  get target(): number {
    return this.#target;
  }

  command(value: number): void {
    this.#command = value;
  }

  /** Up to `now`, ms. */
  advance(now: number): void {
    this.#position += (this.#command - this.#position) * -Math.expm1(-(now - this.#now) / lag);
    this.#now = now;
    while (now >= this.#nextJump) {
      const side = this.#target > 0 ? -1 : 1;
      this.#target = side * this.#targets.between(0.3, 1);
      this.#nextJump += this.#targets.between(1500, 3500);
    }
  }

  observation(): Observation {
    return { images: {}, state: [this.#position, this.#target] };
  }

  readonly rows = ({ observation, random }: SimulatedCall): Float64Array => {
    const [position, target] = observation.state as number[];
    const goal = target! + disagreement * random.normal();
    return Float64Array.from(
      { length: this.#chunk },
      // the row commands where the joint is to be a tick later, ahead of its lag
      (_, r) => goal + (position! - goal) * Math.exp(-((r + 1) * this.#period + lag) / approach),
    );
  };
}
