/**
 * Parses lines of `tegrastats`. Their format is not standardized: rails, engines and zones vary with board and JetPack.
 *
 *   Orin   ... EMC_FREQ 3%@2133 GR3D_FREQ 0%@[0,0] ... cpu@52.562C VDD_GPU_SOC 2412mW/2412mW
 *   Thor   ... EMC_FREQ 7%@3200 GR3D_FREQ @[314,314,314] ... gpu@35.9C/36.1C VDD_GPU -392mW/-392mW/0mW VIN 19780mW/19780mW
 *   Xavier ... GR3D_FREQ 0%@114 APE 150 MTS fg 0% bg 3% AO@31C GPU@31.5C VDD_IN 3528/3569 (milliwatts)
 *
 * Known words are read wherever they appear; unknown ones are skipped and listed in `unknown`. A line is complete if its last word
 * is a temperature, a rail, or, after these, something that cannot be the beginning of one. Any other line was cut and is
 * refused, since `470` may have been `4707mW`. Without root the EMC, GPU and engine fields are not printed.
 */

import type { Reading } from '../types.ts';
import { malformed, type Parsed } from './parsed.ts';

export interface TegraSample {
  /** Megabytes. */
  readonly ramUsed: number;
  readonly ramTotal: number;
  /** Percent and MHz by core; null: the core is off. `mhz` is null on boards that do not report it by core. */
  readonly cpus: readonly ({ readonly percent: number; readonly mhz: number | null } | null)[];
  readonly emc: { readonly percent: number | null; readonly mhz: number | null } | null;
  /** `percent` is null on Thor, which does not report it; one clock per GPC. */
  readonly gpu: { readonly percent: number | null; readonly mhz: readonly number[] } | null;
  /** Current degrees Celsius; zones that are switched off (-256) are left out. */
  readonly temperatures: readonly Reading[];
  /**
   * Current watts by rail (the first of the figures); `NC` is left out. Slightly below 0 when no current flows: the monitor's
   * offset.
   */
  readonly power: readonly Reading[];
  /** What was skipped, verbatim. */
  readonly unknown: readonly string[];
}

/** A zone that reads about absolute zero or below is switched off. */
const switchedOff = -250;

const fields = {
  stamp: /^\d\d-\d\d-\d{4} \d\d:\d\d:\d\d(?= |$)/,
  ram: /^RAM (\d+)\/(\d+)MB(?: ?\(lfb [^)]*\))?(?= |$)/,
  swap: /^SWAP \d+\/\d+MB(?: ?\(cached \d+MB\))?(?= |$)/,
  iram: /^IRAM \d+\/\d+kB(?: ?\(lfb [^)]*\))?(?= |$)/,
  cpu: /^CPU \[([^\]]*)\](?= |$)/,
  emc: /^EMC(?:_FREQ)? (?:(\d+)%)?(?:@(\d+))?(?= |$)/,
  gpu: /^GR3D(?:_FREQ)? (?:(\d+)%)?(?:@(?:(\d+)|\[(\d+(?:,\d+)*)\]))?(?= |$)/,
  temperature: /^([A-Za-z][\w.-]*)@(-?\d+(?:\.\d+)?)C(?:\/-?\d+(?:\.\d+)?C)*(?= |$)/,
  rail: /^([A-Z]\w*) (-?\d+)mW(?:\/-?\d+mW)*(?= |$)/,
  /** Before JetPack 5: current milliwatts and their mean, without the unit. */
  plainRail: /^([A-Z]\w*) (-?\d+)\/-?\d+(?= |$)/,
  /** Engines: `NVENC 79%@166`, `VIC off`, `APE 174`, `OFA_FREQ @1556`, `GR3D2_FREQ 0%@114`. */
  engine: /^[A-Z]\w* (?:off|\d+|(?:\d+%)?@\d+|\d+%(?:@\[\d+(?:,\d+)*\])?)(?= |$)/,
};

/** Ends of a line that may be the beginning of a temperature or of a rail. */
const cutWord = /(?:^| )(?:[A-Za-z][\w.-]*(?:@[-\d.C/]*)?|[A-Z]\w* -?[\dmW/-]*)$/;

/** @param line without its line break */
export function parseTegrastats(line: string): Parsed<TegraSample> {
  let rest = line.trim();
  const take = (pattern: RegExp): RegExpExecArray | null => {
    const match = pattern.exec(rest);
    if (match !== null) rest = rest.slice(match[0].length).trimStart();
    return match;
  };
  let ram: RegExpExecArray | null = null;
  let cpu: RegExpExecArray | null = null;
  let emc: TegraSample['emc'] = null;
  let gpu: TegraSample['gpu'] = null;
  const temperatures: Reading[] = [];
  const power: Reading[] = [];
  const unknown: string[] = [];
  let passed: string[] = [];
  let ends = false;
  const endPassed = (): void => {
    if (passed.length > 0) unknown.push(passed.join(' '));
    passed = [];
  };

  const takeKnown = (): boolean => {
    ends = false;
    const figure = (text: string | undefined): number | null => (text === undefined ? null : Number(text));
    let match = take(fields.temperature);
    if (match !== null) {
      ends = true;
      const value = Number(match[2]);
      if (value > switchedOff) temperatures.push({ name: match[1]!.toLowerCase(), value });
      return true;
    }
    match = take(fields.rail) ?? take(fields.plainRail);
    if (match !== null) {
      ends = true;
      if (match[1] !== 'NC') power.push({ name: match[1]!, value: Number(match[2]) / 1000 });
      return true;
    }
    match = take(fields.ram);
    if (match !== null) {
      ram = match;
      return true;
    }
    match = take(fields.cpu);
    if (match !== null) {
      cpu = match;
      return true;
    }
    match = take(fields.emc);
    if (match !== null) {
      const [percent, mhz] = [figure(match[1]), figure(match[2])];
      if (percent !== null || mhz !== null) emc = { percent, mhz };
      return true;
    }
    match = take(fields.gpu);
    if (match !== null) {
      const clocks = match[3]?.split(',') ?? (match[2] === undefined ? [] : [match[2]]);
      const percent = figure(match[1]);
      if (percent !== null || clocks.length > 0) gpu = { percent, mhz: clocks.map(Number) };
      return true;
    }
    return [fields.stamp, fields.swap, fields.iram, fields.engine].some((pattern) => take(pattern) !== null);
  };

  while (rest !== '') {
    const before = rest;
    if (takeKnown()) {
      endPassed();
      // but not of the figures of memory and GPU: `0%` may have been `0%@114`
      const isFigure = /^(?:EMC|GR3D)\S* [^\]]*$/.test(before);
      ends ||= temperatures.length + power.length > 0 && !isFigure && /(?:[%)\]]|off)$/.test(before);
      continue;
    }
    passed.push(take(/^\S+/)![0]);
    ends = temperatures.length + power.length > 0 && !cutWord.test(passed.slice(-2).join(' '));
  }
  endPassed();
  if (ram === null) return malformed('tegrastats', '`RAM <used>/<total>MB`', line);
  if (cpu === null) return malformed('tegrastats', '`CPU [<percent>%@<MHz>,...]`', line);
  if (!ends) return malformed('tegrastats', 'a whole temperature or rail at the end', line.slice(-40));
  const cores = coresOf(cpu[1]!);
  return {
    value: {
      ramUsed: Number(ram[1]),
      ramTotal: Number(ram[2]),
      cpus: cores.cpus,
      emc,
      gpu,
      temperatures,
      power,
      unknown: [...unknown, ...cores.unknown],
    },
  };
}

function coresOf(text: string): { readonly cpus: TegraSample['cpus']; readonly unknown: readonly string[] } {
  const unknown: string[] = [];
  const cpus = text.split(',').map((core) => {
    const match = /^(\d+)%(?:@(\d+))?$/.exec(core.trim());
    if (match !== null)
      return { percent: Number(match[1]), mhz: match[2] === undefined ? null : Number(match[2]) };
    if (core.trim() !== 'off') unknown.push(`CPU [${core.trim()}]`);
    return null;
  });
  return { cpus, unknown };
}

/** Parses a recorded log. A last line without a line break is refused: it may have been cut at the end of a field, unnoticeably. */
export function parseTegrastatsLog(text: string): readonly Parsed<TegraSample>[] {
  const lines = text.split('\n');
  const last = lines.pop()!;
  const parsed = lines.filter((line) => line.trim() !== '').map((line) => parseTegrastats(line.trimEnd()));
  return last === '' ? parsed : [...parsed, malformed('tegrastats', 'the end of the last line', last)];
}
