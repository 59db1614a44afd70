/** The last actions that a loop sent to the robot, in an array that is made once. */

/** A copy; the columns are those of the actions. */
export interface SentRows {
  readonly at: Float64Array;
  /** [rows, A] in the dataset's units */
  readonly values: Float64Array;
  /** 1: the tick held. */
  readonly held: Uint8Array;
}

export class SentRing {
  readonly #at: Float64Array;
  readonly #held: Uint8Array;
  /** null before the first action, whose length is that of all. */
  #values: Float64Array | null = null;
  #count = 0;

  /** @param capacity rows, >= 1 */
  constructor(capacity: number) {
    this.#at = new Float64Array(capacity);
    this.#held = new Uint8Array(capacity);
  }

  add(at: number, values: ArrayLike<number>, isHeld: boolean): void {
    const capacity = this.#at.length;
    this.#values ??= new Float64Array(capacity * values.length);
    const columns = this.#values.length / capacity;
    const row = this.#count++ % capacity;
    this.#at[row] = at;
    this.#held[row] = isHeld ? 1 : 0;
    for (let i = 0; i < columns; i++) this.#values[row * columns + i] = values[i] ?? Number.NaN;
  }

  /** A copy, and how many older rows there was no room for; then it begins anew. */
  take(): SentRows & { readonly lost: number } {
    const rows = { ...this.copy(), lost: Math.max(0, this.#count - this.#at.length) };
    this.#count = 0;
    return rows;
  }

  /** Oldest first. */
  copy(): SentRows {
    const capacity = this.#at.length;
    const rows = Math.min(this.#count, capacity);
    const columns = (this.#values?.length ?? 0) / capacity;
    const order = Array.from({ length: rows }, (_, i) => (this.#count - rows + i) % capacity);
    const values = new Float64Array(rows * columns);
    for (const [i, row] of order.entries())
      values.set(this.#values!.subarray(row * columns, (row + 1) * columns), i * columns);
    return {
      at: Float64Array.from(order, (row) => this.#at[row]!),
      values,
      held: Uint8Array.from(order, (row) => this.#held[row]!),
    };
  }
}
