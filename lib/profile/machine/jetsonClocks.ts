/** Parses the output of `jetson_clocks --show`, which needs root. */

import type { ClockRange } from '../types.ts';
import { powerModeIn } from './nvpmodel.ts';
import { malformed, type Parsed } from './parsed.ts';

export interface JetsonClocks {
  /** MHz: `cpu0` ..., `gpu` (Orin) or `gpu-gpc-0`, `gpu-nvd-0` (Thor), `emc`. Cores that are switched off are left out. */
  readonly ranges: readonly ClockRange[];
  /** Whether the clocks of all cores and the GPU are fixed; that of memory counts if the board says whether it is overridden. */
  readonly locked: boolean;
  readonly powerMode: string | null;
}

/** CPU clocks are in kHz, the others in Hz. Unknown lines and words are skipped. */
export function parseJetsonClocks(text: string): Parsed<JetsonClocks> {
  const ranges: ClockRange[] = [];
  let locked = true;
  const lines = text.split('\n');
  if (lines.pop() !== '') return malformed('jetson_clocks --show', 'a last line that ends', text.slice(-60));
  for (const line of lines) {
    const name = /^\s*(cpu\d+|GPU|gpu-[a-z]+-\d+|EMC)(?=[: ])/.exec(line)?.[1];
    if (name === undefined || /\bOnline=0\b/.test(line)) continue;
    const figure = (key: string): number => Number(new RegExp(`\\b${key}=(\\d+)(?!\\S)`).exec(line)?.[1]);
    const scale = name.startsWith('cpu') ? 1e3 : 1e6;
    const [min, max] = [figure('MinFreq') / scale, figure('MaxFreq') / scale];
    if (!Number.isFinite(min) || !Number.isFinite(max)) continue;
    ranges.push({ name: name.toLowerCase(), min, max });
    // jetson_clocks fixes the memory clock by an override and leaves its range as it is
    if (name === 'EMC') locked &&= !/\bFreqOverride=0\b/.test(line);
    else locked &&= min === max;
  }
  const has = (start: string): boolean => ranges.some(({ name }) => name.startsWith(start));
  if (!has('cpu') || !has('gpu'))
    return malformed('jetson_clocks --show', 'lines of CPUs and of the GPU', text);
  return { value: { ranges, locked, powerMode: powerModeIn(text) } };
}
