/**
 * Reads lines of `tegrastats`. Their format is not standardized: rails, engines and zones vary with board and JetPack.
 *
 *   Orin   ... EMC_FREQ 3%@2133 GR3D_FREQ 0%@[0,0] ... cpu@52.562C VDD_GPU_SOC 2412mW/2412mW
 *   Thor   ... EMC_FREQ 7%@3200 GR3D_FREQ @[314,314,314] ... gpu@35.9C/36.1C VDD_GPU -392mW/-392mW/0mW VIN 19780mW/19780mW
 *   Xavier ... GR3D_FREQ 0%@114 APE 150 MTS fg 0% bg 3% AO@31C GPU@31.5C VDD_IN 3528/3569 (milliwatts)
 *
 * Known words are read wherever they stand; unknown ones are skipped and listed. A line is complete if its last word is a
 * temperature, a rail, or, after these, something that cannot be the beginning of one. Any other line was cut and is refused,
 * since `470` may have been `4707mW`. Without root the EMC, GPU and engine fields are not printed.
 */

import { malformed, type Parsed } from './parsed.ts';
import type { Reading } from './types.ts';

/** Percent busy and MHz; null: not printed. */
interface Busy {
  readonly percent: number | null;
  readonly mhz: number | null;
}

export interface TegraSample {
  readonly emc: Busy;
  /** Of the first GPC. Thor does not print how busy its GPU is. */
  readonly gpu: Busy;
  /** Current degrees Celsius; zones that are switched off (-256) are left out. */
  readonly temperatures: readonly Reading[];
  /** Current watts by rail, without `NC`. Slightly below 0 when no current flows: the monitor's offset. */
  readonly power: readonly Reading[];
  /** What was skipped, verbatim. */
  readonly unknown: readonly string[];
}

/** A zone that reads about absolute zero or below is switched off. */
const switchedOff = -250;

const zone = /(?<= )([A-Za-z][\w.-]*)@(-?\d+(?:\.\d+)?)C(?:\/-?\d+(?:\.\d+)?C)*(?= |$)/g;
/** `VDD_IN 4744mW/4744mW`; before JetPack 5 without the unit: `VDD_IN 3528/3569`. */
const rail = /(?<= )([A-Z]\w*) (-?\d+)(?:mW(?:\/-?\d+mW)*|\/-?\d+)(?= |$)/g;

/** Dates, memory, cores and engines: `RAM 9/62MB (lfb 4x4MB)`, `CPU [1%@729]`, `NVENC 79%@166`, `VIC off`, `APE 174`. */
const others =
  /(?<= |^)(?:\d\d-\d\d-\d{4} [\d:]{8}|\w+ \d+\/\d+[kM]B(?: ?\([^)]*\))?|CPU \[[^\]]*\]|[A-Z]\w* (?:off|\d+|\d+%|(?:\d+%)?@(?:\d+|\[[\d,]+\])))(?= |$)/g;
/** Ends of a line that may be the beginning of a temperature, of a rail, or of a figure: `0%` may have been `0%@114`. */
const cutWord =
  /(?:^| )(?:[A-Za-z][\w.-]*(?:@[-\d.C/]*)?|[A-Z]\w* (?:-?[\dmW/-]*|(?:\d+%)?@\[?[\d,]*)|(?:EMC|GR3D)\S* \d*%?)$/;

/** @param line without its line break */
export function parseTegrastats(line: string): Parsed<TegraSample> {
  const text = line.trim();
  if (!/\bRAM \d+\/\d+MB\b.* CPU \[/.test(text))
    return malformed('tegrastats', '`RAM <used>/<total>MB ... CPU [`', text);
  const busy = (name: string): Busy => {
    const match = new RegExp(` ${name}(?:_FREQ)? (?:(\\d+)%)?(?:@\\[?(\\d+))?`).exec(text);
    const [percent, mhz] = [match?.[1], match?.[2]].map((digits) => (digits ? Number(digits) : null));
    return { percent: percent ?? null, mhz: mhz ?? null };
  };
  const readings = (pattern: RegExp): Reading[] =>
    [...text.matchAll(pattern)].map(([, name, value]) => ({ name: name!, value: Number(value) }));
  const temperatures = readings(zone);
  const power = readings(rail);
  const skipped = [zone, rail, others].reduce((rest, pattern) => rest.replace(pattern, '|'), text);
  const isReading = /(?:C|mW|\/-?\d+)$/.test(text) && skipped.endsWith('|');
  const isEnd = temperatures.length + power.length > 0 && !cutWord.test(text.replace(/ off$/, ''));
  if (!isReading && !isEnd)
    return malformed('tegrastats', 'a whole temperature or rail at the end', text.slice(-40));
  return {
    value: {
      emc: busy('EMC'),
      gpu: busy('GR3D'),
      temperatures: temperatures.flatMap(({ name, value }) =>
        value > switchedOff ? [{ name: name.toLowerCase(), value }] : [],
      ),
      power: power.flatMap(({ name, value }) => (name === 'NC' ? [] : [{ name, value: value / 1000 }])),
      unknown: skipped.split('|').flatMap((words) => words.trim() || []),
    },
  };
}
