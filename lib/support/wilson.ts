/** Wilson's score interval of a share, 95 %: what `successes` of `count` say about the rate behind them. */
export function wilson(successes: number, count: number): readonly [number, number] {
  const z = 1.96;
  const share = successes / count;
  const middle = (share + z ** 2 / (2 * count)) / (1 + z ** 2 / count);
  const half =
    (z * Math.sqrt((share * (1 - share)) / count + z ** 2 / (4 * count ** 2))) / (1 + z ** 2 / count);
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}
