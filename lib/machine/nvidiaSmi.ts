/**
 * Reads NVIDIA's GPU from the text of `nvidia-smi`, which comes with every driver, on desktops and Thor, and needs no native code.
 * Fixed facts are asked for once. Changing values are read many times a second from one process that keeps running, since starting
 * it takes longer than the time between two samples. What a GPU does not report (`[N/A]`, `[Not Supported]`) is null.
 */

import type { MachineProbe } from '../support/machineProbe.ts';
import { LineStream } from './lineStream.ts';
import { malformed, type Parsed, wholeNumberText } from './parsed.ts';
import type { Reading } from './types.ts';

const factFields = ['name', 'driver_version', 'compute_cap', 'memory.total'] as const;
/** From Ampere on `power.draw` is a mean over a second; newer drivers also report the latest value. */
const powerFields = ['power.draw.instant', 'power.draw'] as const;
/** The mask has two names: drivers before 535 know only the second. */
const maskFields = ['clocks_event_reasons.active', 'clocks_throttle_reasons.active'] as const;
const momentFields = [
  ...(['clocks.current.graphics', 'clocks.current.memory', 'temperature.gpu'] as const),
  ...(['utilization.gpu', 'utilization.memory'] as const),
  ...powerFields,
  ...maskFields,
];
type Field = (typeof factFields)[number] | (typeof momentFields)[number];

/** A GPU's answers by field; null: not reported. A field that the driver does not know is absent. */
export type GpuCells = ReadonlyMap<Field, string | null>;

/** What changes while a policy runs. */
export interface GpuMoment {
  /** MHz. */
  readonly clock: number | null;
  readonly memoryClock: number | null;
  /** Degrees Celsius. */
  readonly temperature: number | null;
  /** Watts drawn by the board. */
  readonly watts: number | null;
  /** Why the clocks are lower than they could be, except that the GPU is idle. null: not reported. */
  readonly reasons: readonly string[] | null;
  /** Percent of the time that a part was busy: `gpu`, `gpu-memory`. */
  readonly loads: readonly Reading[];
}

const query = (fields: readonly Field[], index: number): string[] => [
  `--query-gpu=${fields.join(',')}`,
  '--format=csv,noheader,nounits',
  `--id=${index}`,
];

/**
 * Asks for all fields at once; if the driver does not know one of them, which loses the whole answer, asks one by one.
 * @param index of the GPU
 * @returns null if nvidia-smi does not answer, or there is no such GPU
 */
export function readGpuCells(
  probe: MachineProbe,
  fields: readonly Field[] = [...factFields, ...momentFields],
  index = 0,
): Parsed<GpuCells> | null {
  const ask = (some: readonly Field[]): Parsed<GpuCells> | null => {
    const text = probe.run('nvidia-smi', query(some, index)) ?? '';
    return text.trim() === '' ? null : parseGpuCells(text, some);
  };
  const all = ask(fields);
  if (all !== null || ask(['name']) === null) return all;
  const told = fields.flatMap((field) => {
    const one = ask([field]);
    return one !== null && 'value' in one ? [...one.value] : [];
  });
  return { value: new Map(told) };
}

/**
 * @param text one line of comma-separated values, in the order of `fields`; other lines (e.g. a warning of the driver) and an
 *   incomplete line are skipped
 */
export function parseGpuCells(text: string, fields: readonly Field[]): Parsed<GpuCells> {
  const cells = text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .map((line) => line.split(',').map((cell) => cell.trim()))
    .find((line) => line.length === fields.length && line[0] !== '');
  if (cells === undefined)
    return malformed('nvidia-smi', `${fields.length} values and the end of the line`, text);
  // a cell in brackets says why it is empty
  const readable = cells.map((cell) => (/^(?:\[.*\]|N\/A|ERR!)$/.test(cell) ? null : cell));
  return { value: new Map(fields.map((field, i) => [field, readable[i]!])) };
}

/** What a GPU is; what it does not report is null. */
export interface GpuFacts {
  readonly name: string;
  readonly driver: string | null;
  readonly computeCapability: string | null;
  readonly memoryBytes: number | null;
}

/** Every GPU of the machine, in nvidia-smi's order; empty if nvidia-smi does not answer. */
export function readGpus(probe: MachineProbe): readonly Parsed<GpuFacts>[] {
  const text = probe.run('nvidia-smi', ['--query-gpu=index', '--format=csv,noheader']) ?? '';
  const indices = text.split('\n').filter((line) => /^\d+$/.test(line.trim()));
  return indices.flatMap((index): readonly Parsed<GpuFacts>[] => {
    const cells = readGpuCells(probe, factFields, Number(index));
    if (cells === null) return [];
    return 'value' in cells ? [{ value: gpuFacts(cells.value) }] : [cells];
  });
}

export function gpuFacts(cells: GpuCells): GpuFacts {
  const memory = wholeNumberText(cells.get('memory.total'));
  return {
    name: cells.get('name') ?? 'unknown',
    driver: cells.get('driver_version') ?? null,
    computeCapability: cells.get('compute_cap') ?? null,
    memoryBytes: memory === null ? null : memory * 2 ** 20,
  };
}

export function gpuMoment(cells: GpuCells): GpuMoment {
  const load = (name: string, field: Field): Reading[] => {
    const value = wholeNumberText(cells.get(field));
    return value === null ? [] : [{ name, value }];
  };
  return {
    clock: wholeNumberText(cells.get('clocks.current.graphics')),
    memoryClock: wholeNumberText(cells.get('clocks.current.memory')),
    temperature: wholeNumberText(cells.get('temperature.gpu')),
    watts: powerOf(cells)?.watts ?? null,
    reasons: reasonsOf(maskFields.map((field) => cells.get(field)).find(Boolean) ?? ''),
    loads: [...load('gpu', 'utilization.gpu'), ...load('gpu-memory', 'utilization.memory')],
  };
}

/**
 * The latest power if it is reported, and how often it changes, in milliseconds. For the mean over a second NVML documents it
 * (nvmlDeviceGetPowerUsage); how often the latest value is updated NVIDIA does not say, so 100 ms, the polling interval, is
 * assumed. On A100 and H100 the sensor covers a quarter of the time (arXiv 2312.02741).
 */
export function powerOf(cells: GpuCells): { readonly watts: number; readonly periodMs: number } | null {
  for (const field of powerFields) {
    const watts = wholeNumberText(cells.get(field));
    if (watts !== null) return { watts, periodMs: field === 'power.draw' ? 1000 : 100 };
  }
  return null;
}

/** NVML's names of the mask's bits from 0x2 on. Bit 0, an idle GPU, slows nothing that runs. */
const reasonNames = [
  ...['applications_clocks_setting', 'sw_power_cap', 'hw_slowdown', 'sync_boost', 'sw_thermal_slowdown'],
  ...['hw_thermal_slowdown', 'hw_power_brake_slowdown', 'display_clock_setting'],
];

/** `0x0000000000000004` -> `sw_power_cap`. An unknown bit is named by its number. */
function reasonsOf(mask: string): readonly string[] | null {
  if (!/^0x[0-9a-f]{1,16}$/i.test(mask)) return null;
  const bits = BigInt(mask) >> 1n;
  const names = reasonNames.filter((_, i) => ((bits >> BigInt(i)) & 1n) === 1n);
  const rest = (bits >> BigInt(reasonNames.length)) << BigInt(reasonNames.length + 1);
  return rest === 0n ? names : [...names, `reason 0x${rest.toString(16)}`];
}

/** The current state of the GPU, for repeated reading from one process. */
export interface GpuStream {
  readonly pid: number | undefined;
  /** Milliseconds between two values of the power sensor; null: it reports no power. */
  readonly powerPeriodMs: number | null;
  /** null: nothing arrived within `maxAgeMs`. */
  read(maxAgeMs: number): Parsed<GpuMoment> | null;
  close(): void;
}

/** Returns null if there is no such GPU. */
export function streamGpu(probe: MachineProbe, intervalMs: number): GpuStream | null {
  const first = readGpuCells(probe, momentFields);
  if (first === null || !('value' in first) || first.value.size === 0) return null;
  const fields = [...first.value.keys()];
  const lines = new LineStream('nvidia-smi', [...query(fields, 0), `--loop-ms=${Math.round(intervalMs)}`]);
  return {
    pid: lines.pid,
    powerPeriodMs: powerOf(first.value)?.periodMs ?? null,
    read: (maxAgeMs) => {
      const line = lines.latest(maxAgeMs);
      const cells = line === null ? null : parseGpuCells(`${line}\n`, fields);
      return cells === null || !('value' in cells) ? cells : { value: gpuMoment(cells.value) };
    },
    close: () => lines.close(),
  };
}
