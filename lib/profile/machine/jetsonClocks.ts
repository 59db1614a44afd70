/** What `jetson_clocks --show` prints; it needs root. */

import type { ClockRange } from '../types.ts';
import { malformed, type Parsed } from './parsed.ts';

export interface JetsonClocks {
  /** MHz: `cpu0` ..., `gpu` (Orin) or `gpu-gpc-0`, `gpu-nvd-0` (Thor), `emc`. Powered-off cores are left out. */
  readonly ranges: readonly ClockRange[];
  /** Every CPU and the GPU cannot move. The memory clock counts where the board tells whether it is overridden. */
  readonly locked: boolean;
  readonly powerMode: string | null;
}

const frequencies = /MinFreq=(\d+) +MaxFreq=(\d+) +CurrentFreq=(\d+)(?: |$)/;

/** CPU clocks are in kHz, the others in Hz. */
export function parseJetsonClocks(text: string): Parsed<JetsonClocks> {
  const ranges: ClockRange[] = [];
  let locked = true;
  let powerMode: string | null = null;
  const lines = text.split('\n');
  if (lines.pop() !== '') return malformed('jetson_clocks --show', 'a last line that ends', text.slice(-60));
  for (const line of lines) {
    powerMode = /^NV Power Mode: ([\w-]+)\s*$/.exec(line)?.[1] ?? powerMode;
    const name = /^(cpu\d+|GPU|gpu-[a-z]+-\d+|EMC)(?=[: ])/.exec(line)?.[1];
    if (name === undefined || /\bOnline=0\b/.test(line)) continue;
    const match = frequencies.exec(line);
    if (match === null)
      return malformed('jetson_clocks --show', `MinFreq, MaxFreq, CurrentFreq of ${name}`, line);
    const scale = name.startsWith('cpu') ? 1e3 : 1e6;
    const [min, max] = [Number(match[1]) / scale, Number(match[2]) / scale];
    ranges.push({ name: name.toLowerCase(), min, max });
    // jetson_clocks holds the memory clock by an override and leaves its range as it is
    if (name === 'EMC') locked &&= !/\bFreqOverride=0\b/.test(line);
    else locked &&= min === max;
  }
  const has = (start: string): boolean => ranges.some(({ name }) => name.startsWith(start));
  if (!has('cpu') || !has('gpu'))
    return malformed('jetson_clocks --show', 'lines of CPUs and of the GPU', text);
  return { value: { ranges, locked, powerMode } };
}
