/** Numbers and tables as text. */

const units = ['B', 'KB', 'MB', 'GB', 'TB'] as const;

/** `15.2 GB`; powers of 1000, as disks and model cards count. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

/** `7.54 B`, `304 M`, `12.1 K`, `56`. */
export function formatCount(count: number): string {
  for (const [size, suffix] of [
    [1e9, ' B'],
    [1e6, ' M'],
    [1e3, ' K'],
  ] as const) {
    if (count >= size) return `${Number((count / size).toPrecision(3))}${suffix}`;
  }
  return String(count);
}

/** `12.3 ms`, `4.56 s`. */
export function formatMs(ms: number): string {
  return ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(ms < 10 ? 2 : 1)} ms`;
}

export type Alignment = 'left' | 'right';

/**
 * Columns padded to their widest cell, two spaces apart, without trailing spaces.
 *
 * @param alignments one a column; columns beyond are `right`
 */
export function formatTable(rows: readonly (readonly string[])[], alignments: readonly Alignment[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  return rows
    .map((row) =>
      row
        .map((cell, i) => (alignments[i] === 'left' ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
