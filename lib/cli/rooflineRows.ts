/** Rooflines of what was measured, as `bench` prints them. */

import { tflopsOf, weightRateOf } from '../profile/roofline/roofline.ts';
import type { Roofline } from '../profile/types.ts';
import { formatTable } from './format.ts';

const number = (value: number): string => value.toPrecision(3);

/** Limit, what was measured, the share reached, and effective rates, stage by stage. */
export function rooflineRowsText(
  subject: string,
  { device, precision, rows, source, memory }: Roofline,
): string {
  const head = [
    'stage',
    'GFLOP',
    'weights GB',
    'limit ms',
    'bound by',
    'measured ms',
    'reached',
    'TFLOPS',
    'GB/s',
  ];
  const table = formatTable(
    [
      head,
      ...rows.map((row) => [
        row.stage,
        ...[row.flops / 1e9, row.weightBytes / 1e9, row.limitMs].map(number),
        row.boundBy,
        ...(row.measuredMs === null
          ? ['', '', '', '']
          : [
              number(row.measuredMs),
              `${number(100 * row.fraction!)} %`,
              number(tflopsOf(row)),
              number(weightRateOf(row)),
            ]),
      ]),
    ],
    ['left'],
  );
  const fits = memory === undefined || memory.fits ? '' : '; its weights do not fit there';
  return `roofline of ${subject} on ${device}, ${precision}${fits}\n${table}\npeaks: ${source}`;
}
