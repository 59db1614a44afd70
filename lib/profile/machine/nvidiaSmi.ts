/**
 * NVIDIA's GPU through the text of `nvidia-smi`: it is there with every driver, desktop and Thor, and needs no native code.
 * What a GPU does not tell (`[N/A]`, `[Not Supported]`) is null.
 */

import type { MachineProbe } from '../../support/machineProbe.ts';
import type { Reading } from '../types.ts';
import { malformed, type Parsed, wholeNumberText } from './parsed.ts';

export interface GpuReading {
  readonly name: string;
  readonly driver: string | null;
  readonly computeCapability: string | null;
  readonly memoryBytes: number | null;
  readonly persistence: boolean | null;
  /** MHz. */
  readonly maxClock: number | null;
  readonly maxMemoryClock: number | null;
  readonly clock: number | null;
  readonly memoryClock: number | null;
  /** Degrees Celsius. */
  readonly temperature: number | null;
  /** Watts that the board draws. */
  readonly watts: number | null;
  /** Why the clocks are lower than they could be; an idle GPU is no reason. null: it does not tell. */
  readonly reasons: readonly string[] | null;
}

/** What moves while a policy runs. */
export interface GpuMoment
  extends Pick<GpuReading, 'clock' | 'memoryClock' | 'temperature' | 'watts' | 'reasons'> {
  /** Percent of the time that it was busy: `gpu`, `gpu-memory`. */
  readonly loads?: readonly Reading[];
}

const fields = [
  'name',
  'driver_version',
  'compute_cap',
  'memory.total',
  'persistence_mode',
  'clocks.max.graphics',
  'clocks.max.memory',
  'clocks.current.graphics',
  'clocks.current.memory',
  'temperature.gpu',
  'power.draw',
];

/** The mask has two names: drivers before 535 know only the second. */
export const maskNames = ['clocks_event_reasons.active', 'clocks_throttle_reasons.active'];

/** Bits of the mask, as NVML defines them. Bit 0, an idle GPU, is not listed: it slows nothing that runs. */
const reasonBits: readonly (readonly [bit: bigint, name: string])[] = [
  [0x2n, 'applications_clocks_setting'],
  [0x4n, 'sw_power_cap'],
  [0x8n, 'hw_slowdown'],
  [0x10n, 'sync_boost'],
  [0x20n, 'sw_thermal_slowdown'],
  [0x40n, 'hw_thermal_slowdown'],
  [0x80n, 'hw_power_brake_slowdown'],
  [0x100n, 'display_clock_setting'],
];

/**
 * All at once where the driver knows every field; else field by field, since one that it does not know loses the answer.
 * @param index of the GPU
 * @returns null: no nvidia-smi that answers, or no such GPU
 */
export function readNvidiaSmi(probe: MachineProbe, index = 0): Parsed<GpuReading> | null {
  const ask = (names: readonly string[]): string | null => {
    const query = `--query-gpu=${names.join(',')}`;
    const text = probe.run('nvidia-smi', [query, '--format=csv,noheader,nounits', `--id=${index}`]);
    return text === null || text.trim() === '' ? null : text;
  };
  for (const mask of maskNames) {
    const text = ask([...fields, mask]);
    if (text !== null) return parseNvidiaSmi(text);
  }
  const name = ask(['name']);
  if (name === null) return null;
  const one = (field: string): string => ask([field])?.split('\n', 1)[0]?.trim() ?? '[N/A]';
  const mask = maskNames.map(one).find((text) => reasonsOf(text) !== null) ?? '[N/A]';
  return parseNvidiaSmi(`${[...fields.map(one), mask].join(', ')}\n`);
}

/** Every GPU of the machine, in nvidia-smi's order; empty: no nvidia-smi that answers. */
export function readNvidiaGpus(probe: MachineProbe): readonly Parsed<GpuReading>[] {
  const text = probe.run('nvidia-smi', ['--query-gpu=index', '--format=csv,noheader']) ?? '';
  const indices = text.split('\n').filter((line) => /^\d+$/.test(line.trim()));
  return indices.map((index) => readNvidiaSmi(probe, Number(index))).filter((gpu) => gpu !== null);
}

/**
 * @param text one line of comma-separated values, in the order of `fields`, and the mask; other lines (a warning of the
 *   driver's) are passed over
 */
export function parseNvidiaSmi(text: string): Parsed<GpuReading> {
  const cells = text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .map((line) => line.split(',').map((cell) => cell.trim()))
    .find((line) => line.length === fields.length + 1 && line[0] !== '');
  if (cells === undefined)
    return malformed('nvidia-smi', `${fields.length + 1} values and the end of the line`, text);
  const cell = (name: string): string | null => readableCell(cells[fields.indexOf(name)]!);
  const number = (name: string): number | null => wholeNumberText(cell(name));
  const memory = number('memory.total');
  const persistence = cell('persistence_mode');
  return {
    value: {
      name: cells[0]!,
      driver: cell('driver_version'),
      computeCapability: cell('compute_cap'),
      memoryBytes: memory === null ? null : memory * 2 ** 20,
      persistence: persistence === null ? null : persistence === 'Enabled',
      maxClock: number('clocks.max.graphics'),
      maxMemoryClock: number('clocks.max.memory'),
      clock: number('clocks.current.graphics'),
      memoryClock: number('clocks.current.memory'),
      temperature: number('temperature.gpu'),
      watts: number('power.draw'),
      reasons: reasonsOf(cells.at(-1)!),
    },
  };
}

/** null for a cell that says why it holds nothing. */
export function readableCell(value: string): string | null {
  return /^(?:\[.*\]|N\/A|ERR!)$/.test(value) ? null : value;
}

/** `0x0000000000000004` -> `sw_power_cap`. A bit that is not known here is told by its number. */
export function reasonsOf(mask: string): readonly string[] | null {
  if (!/^0x[0-9a-f]{1,16}$/i.test(mask)) return null;
  let rest = BigInt(mask) & ~1n;
  const names: string[] = [];
  for (const [bit, name] of reasonBits) {
    if ((rest & bit) === 0n) continue;
    names.push(name);
    rest &= ~bit;
  }
  if (rest !== 0n) names.push(`reason 0x${rest.toString(16)}`);
  return names;
}
