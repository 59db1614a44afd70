/** What a Jetson's own files and tools print: release, power mode, clocks. Unknown lines and words are skipped. */

import { malformed, type Parsed } from './parsed.ts';
import type { ClockRange } from './types.ts';

/**
 * JetPack by Jetson Linux release. The pairs are those of NVIDIA's JetPack and Jetson Linux archives
 * (developer.nvidia.com/embedded/jetpack-archive, .../embedded/jetpack/downloads/archive-7.0 and later) and, for 36.5.0 and
 * 39.2.0, of meta-tegra's release notes (github.com/OE4T/meta-tegra/wiki), which name those pages. A release that is not
 * listed is shown by its L4T number alone: the file does not say which JetPack it is.
 */
const jetpacks: Readonly<Record<string, string>> = {
  ...{ '35.4.1': '5.1.2', '35.5.0': '5.1.3', '35.6.0': '5.1.4', '36.2.0': '6.0 DP', '36.3.0': '6.0' },
  ...{ '36.4.0': '6.1', '36.4.3': '6.2', '36.4.4': '6.2.1', '36.5.0': '6.2.2', '38.2.0': '7.0' },
  ...{ '38.2.1': '7.0', '38.4.0': '7.1', '39.2.0': '7.2', '39.2.1': '7.2.1' },
};

/**
 * @param text of /etc/nv_tegra_release: `# R36 (release), REVISION: 4.3, GCID: ..., BOARD: generic, ...`
 * @returns `L4T 36.4.3, JetPack 6.2`
 */
export function parseTegraRelease(text: string): Parsed<string> {
  const match = /^# R(\d+) \([^)]*\),.*?\bREVISION: (\d+(?:\.\d+)+)[,\s]/m.exec(text);
  if (match === null) return malformed('/etc/nv_tegra_release', '`# R<n> (release), REVISION: <n.n>,`', text);
  const l4t = `${match[1]}.${match[2]}`;
  return { value: jetpacks[l4t] === undefined ? `L4T ${l4t}` : `L4T ${l4t}, JetPack ${jetpacks[l4t]}` };
}

/**
 * @param text of `nvpmodel -q`: `NV Power Mode: MAXN` and its number on the next line; `--verbose` puts more lines around it
 *   and more words before it (`NVPM VERB: Current mode: NV Power Mode: 25W`)
 * @returns the mode's name: `MAXN`, `MAXN_SUPER`, `15W`, `MODE_30W`
 */
export function parseNvpmodel(text: string): Parsed<string> {
  const mode = powerModeIn(text);
  return mode === null ? malformed('nvpmodel -q', 'a line `NV Power Mode: <name>`', text) : { value: mode };
}

/** null if there is no such line, or it is incomplete. */
const powerModeIn = (text: string): string | null =>
  /\bNV Power Mode: *(\S+)[ \t]*\r?\n/.exec(text)?.[1] ?? null;

export interface JetsonClocks {
  /** MHz: `cpu0` ..., `gpu` (Orin) or `gpu-gpc-0`, `gpu-nvd-0` (Thor), `emc`. Cores that are switched off are left out. */
  readonly ranges: readonly ClockRange[];
  /** Whether the clocks of all cores and the GPU are fixed; that of memory counts if the board says whether it is overridden. */
  readonly locked: boolean;
  readonly powerMode: string | null;
}

/** @param text of `jetson_clocks --show`, which needs root: CPU clocks in kHz, the others in Hz */
export function parseJetsonClocks(text: string): Parsed<JetsonClocks> {
  const ranges: ClockRange[] = [];
  let locked = true;
  const lines = text.split('\n');
  if (lines.pop() !== '') return malformed('jetson_clocks --show', 'a last line that ends', text.slice(-60));
  for (const line of lines) {
    const name = /^\s*(cpu\d+|GPU|gpu-[a-z]+-\d+|EMC)(?=[: ])/.exec(line)?.[1];
    if (name === undefined || /\bOnline=0\b/.test(line)) continue;
    const scale = name.startsWith('cpu') ? 1e3 : 1e6;
    const [min, max] = ['MinFreq', 'MaxFreq'].map(
      (key) => Number(new RegExp(`\\b${key}=(\\d+)(?!\\S)`).exec(line)?.[1]) / scale,
    ) as [number, number];
    if (!Number.isFinite(min) || !Number.isFinite(max)) continue;
    ranges.push({ name: name.toLowerCase(), min, max });
    // jetson_clocks fixes the memory clock by an override and leaves its range as it is
    locked &&= name === 'EMC' ? !/\bFreqOverride=0\b/.test(line) : min === max;
  }
  const has = (start: string): boolean => ranges.some(({ name }) => name.startsWith(start));
  if (!has('cpu') || !has('gpu'))
    return malformed('jetson_clocks --show', 'lines of CPUs and of the GPU', text);
  return { value: { ranges, locked, powerMode: powerModeIn(text) } };
}
