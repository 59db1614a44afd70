/**
 * A GPU's sensors many times a second: one `nvidia-smi` that stays, since starting it takes longer than the time between
 * two samples. What it cannot tell is null.
 */

import type { MachineProbe } from '../../support/machineProbe.ts';
import { LineStream } from './lineStream.ts';
import { type GpuMoment, maskNames, readableCell, reasonsOf } from './nvidiaSmi.ts';
import { malformed, type Parsed, valueIn, wholeNumberText } from './parsed.ts';

const fields = [
  'clocks.current.graphics',
  'clocks.current.memory',
  'temperature.gpu',
  'utilization.gpu',
  'utilization.memory',
];

/**
 * How power is told, the quicker first, and how old it may be. `power.draw` is a mean over a second from Ampere on (NVML,
 * nvmlDeviceGetPowerUsage); newer drivers also tell the newest value. How often that one is renewed NVIDIA does not say:
 * 100 ms is taken, as often as it is asked. On A100 and H100 it covers a quarter of the time (arXiv 2312.02741).
 */
const powerFields = [
  { field: 'power.draw.instant', periodMs: 100 },
  { field: 'power.draw', periodMs: 1000 },
] as const;

export interface GpuQuery {
  readonly args: readonly string[];
  /** Between two values of the power sensor, milliseconds. */
  readonly powerPeriodMs: number;
}

/** The first way of asking that this driver answers, one that tells power if any does; null: no such GPU. */
export function findGpuQuery(probe: MachineProbe): GpuQuery | null {
  let answered: GpuQuery | null = null;
  for (const { field, periodMs } of powerFields) {
    for (const mask of maskNames) {
      const args = [
        `--query-gpu=${[...fields, field, mask].join(',')}`,
        '--format=csv,noheader,nounits',
        '--id=0',
      ];
      const moment = valueIn(parseText(probe.run('nvidia-smi', args)));
      if (moment === null) continue;
      answered ??= { args, powerPeriodMs: periodMs };
      if (moment.watts !== null) return { args, powerPeriodMs: periodMs };
    }
  }
  return answered;
}

function parseText(text: string | null): Parsed<GpuMoment> | null {
  return text === null || !text.endsWith('\n') ? null : parseGpuMoment(text.split('\n', 1)[0]!);
}

/** @param line values in the order of the query, without the line's end */
export function parseGpuMoment(line: string): Parsed<GpuMoment> {
  const cells = line.split(',').map((cell) => readableCell(cell.trim()));
  if (cells.length !== fields.length + 2) return malformed('nvidia-smi', `${fields.length + 2} values`, line);
  const [clock, memoryClock, temperature, gpuLoad, memoryLoad, watts] = cells.map(wholeNumberText);
  return {
    value: {
      clock: clock!,
      memoryClock: memoryClock!,
      temperature: temperature!,
      watts: watts!,
      reasons: reasonsOf(cells.at(-1) ?? ''),
      loads: [
        ...(gpuLoad === null ? [] : [{ name: 'gpu', value: gpuLoad! }]),
        ...(memoryLoad === null ? [] : [{ name: 'gpu-memory', value: memoryLoad! }]),
      ],
    },
  };
}

export function streamGpu({ args }: GpuQuery, intervalMs: number): LineStream {
  return new LineStream('nvidia-smi', [...args, `--loop-ms=${Math.round(intervalMs)}`]);
}
