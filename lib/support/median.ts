/** The middle of measured values. Pure. */

/** The middle value; for an even number of values, the mean of the middle two. */
export function medianOf(ascending: ArrayLike<number>): number {
  const count = ascending.length;
  if (count === 0) throw new RangeError('a median of no values');
  const middle = count >> 1;
  return count % 2 === 1 ? ascending[middle]! : (ascending[middle - 1]! + ascending[middle]!) / 2;
}

/** Median of values in any order. */
export function median(values: ArrayLike<number>): number {
  return medianOf(sorted(values));
}

export function sorted(values: ArrayLike<number>): Float64Array {
  return Float64Array.from(values).sort();
}
