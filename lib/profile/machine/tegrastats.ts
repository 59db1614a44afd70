/**
 * Lines of `tegrastats`, as JetPack 6 (Orin) and JetPack 7 (Thor) print them:
 *
 *   Orin   ... EMC_FREQ 3%@2133 GR3D_FREQ 0%@[0,0] ... cpu@52.562C VDD_GPU_SOC 2412mW/2412mW
 *   Thor   ... EMC_FREQ 7%@3200 GR3D_FREQ @[314,314,314] ... gpu@35.9C/36.1C VDD_GPU 4925mW/4925mW/4925mW VIN 19780mW/19780mW
 *
 * A line is taken apart to its last character and must end with a temperature or a rail, as every whole one does: what was
 * cut off is refused, since `470` may have been `4707mW`. Without root the EMC, GPU and engine fields are not printed.
 */

import type { Reading } from '../types.ts';
import { malformed, type Parsed } from './parsed.ts';

export interface TegraSample {
  /** Megabytes. */
  readonly ramUsed: number;
  readonly ramTotal: number;
  /** Percent and MHz by core; null: off. */
  readonly cpus: readonly ({ readonly percent: number; readonly mhz: number } | null)[];
  readonly emc: { readonly percent: number; readonly mhz: number | null } | null;
  /** `percent` is null on Thor, which does not tell it; one clock a GPC. */
  readonly gpu: { readonly percent: number | null; readonly mhz: readonly number[] } | null;
  /** Degrees Celsius now; zones that are switched off (-256) are left out. */
  readonly temperatures: readonly Reading[];
  /** Watts now (the first of the figures), by rail; `NC` is left out. */
  readonly power: readonly Reading[];
}

/** Reads off the zone at absolute zero and below. */
const switchedOff = -250;

const fields = {
  stamp: /^\d\d-\d\d-\d{4} \d\d:\d\d:\d\d (?=RAM )/,
  ram: /^RAM (\d+)\/(\d+)MB \(lfb \d+x\d+[kM]B\)(?: |$)/,
  swap: /^SWAP \d+\/\d+MB \(cached \d+MB\)(?: |$)/,
  cpu: /^CPU \[((?:off|\d+%@\d+)(?:,(?:off|\d+%@\d+))*)\](?: |$)/,
  emc: /^EMC_FREQ (\d+)%(?:@(\d+))?(?: |$)/,
  gpu: /^GR3D_FREQ (?:(\d+)%)?(?:@(?:(\d+)|\[(\d+(?:,\d+)*)\]))?(?: |$)/,
  temperature: /^([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C(?:\/-?\d+(?:\.\d+)?C)?(?: |$)/,
  rail: /^([A-Z]\w*) (\d+)mW\/\d+mW(?:\/\d+mW)?(?: |$)/,
  /** Engines: `NVENC 79%@166`, `VIC off`, `APE 174`, `OFA_FREQ @1556`, `GR3D2_FREQ 0%@114`. */
  engine: /^[A-Z]\w* (?:off|\d+|(?:\d+%)?@\d+|\d+%(?:@\[\d+(?:,\d+)*\])?)(?: |$)/,
};

/** @param line without its end */
export function parseTegrastats(line: string): Parsed<TegraSample> {
  let rest = line.trimStart().replace(fields.stamp, '');
  const take = (pattern: RegExp): RegExpExecArray | null => {
    const match = pattern.exec(rest);
    if (match !== null) rest = rest.slice(match[0].length);
    return match;
  };
  const ram = take(fields.ram);
  if (ram === null) return malformed('tegrastats', '`RAM <used>/<total>MB (lfb ...)`', rest);
  take(fields.swap);
  const cpu = take(fields.cpu);
  if (cpu === null) return malformed('tegrastats', '`CPU [<percent>%@<MHz>,...]`', rest);
  let emc: TegraSample['emc'] = null;
  let gpu: TegraSample['gpu'] = null;
  const temperatures: Reading[] = [];
  const power: Reading[] = [];
  let ends = false;
  while (rest !== '') {
    ends = fields.temperature.test(rest) || fields.rail.test(rest);
    let match = take(fields.emc);
    if (match !== null) {
      emc = { percent: Number(match[1]), mhz: match[2] === undefined ? null : Number(match[2]) };
      continue;
    }
    match = take(fields.gpu);
    if (match !== null) {
      const clocks = match[3]?.split(',') ?? (match[2] === undefined ? [] : [match[2]]);
      gpu = { percent: match[1] === undefined ? null : Number(match[1]), mhz: clocks.map(Number) };
      continue;
    }
    match = take(fields.temperature);
    if (match !== null) {
      const value = Number(match[2]);
      if (value > switchedOff) temperatures.push({ name: match[1]!.toLowerCase(), value });
      continue;
    }
    match = take(fields.rail);
    if (match !== null) {
      if (match[1] !== 'NC') power.push({ name: match[1]!, value: Number(match[2]) / 1000 });
      continue;
    }
    if (take(fields.engine) === null) return malformed('tegrastats', 'a whole field', rest);
  }
  if (!ends) return malformed('tegrastats', 'a temperature or a rail at the end', line.slice(-40));
  const cpus = cpu[1]!.split(',').map((core) => {
    if (core === 'off') return null;
    const [percent, mhz] = core.split('%@').map(Number) as [number, number];
    return { percent, mhz };
  });
  const value = { ramUsed: Number(ram[1]), ramTotal: Number(ram[2]), cpus, emc, gpu, temperatures, power };
  return { value };
}

/** A recorded log. A last line without its end may be cut off at a field's end, where nobody can see it: refused. */
export function parseTegrastatsLog(text: string): readonly Parsed<TegraSample>[] {
  const lines = text.split('\n');
  const last = lines.pop()!;
  const parsed = lines.filter((line) => line.trim() !== '').map((line) => parseTegrastats(line.trimEnd()));
  return last === '' ? parsed : [...parsed, malformed('tegrastats', 'the end of the last line', last)];
}
