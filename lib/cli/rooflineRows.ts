/** Rooflines of what was measured, as `bench` prints them. */

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
      ...rows.map(({ stage, flops, weightBytes, limitMs, boundBy, measuredMs, fraction }) => [
        stage,
        number(flops / 1e9),
        number(weightBytes / 1e9),
        number(limitMs),
        boundBy,
        ...(measuredMs === null || fraction === null
          ? ['', '', '', '']
          : [
              number(measuredMs),
              `${number(100 * fraction)} %`,
              number(flops / (measuredMs * 1e9)),
              number(weightBytes / (measuredMs * 1e6)),
            ]),
      ]),
    ],
    ['left'],
  );
  const fits = memory === undefined || memory.fits ? '' : '; its weights do not fit there';
  return `roofline of ${subject} on ${device}, ${precision}${fits}\n${table}\npeaks: ${source}`;
}
