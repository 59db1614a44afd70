/** Jetson Linux (L4T) and the JetPack that it belongs to. */

import { malformed, type Parsed } from './parsed.ts';

/**
 * JetPack by Jetson Linux release. The pairs are those of NVIDIA's JetPack and Jetson Linux archives
 * (developer.nvidia.com/embedded/jetpack-archive, .../embedded/jetpack/downloads/archive-7.0 and later) and, for 36.5.0 and
 * 39.2.0, of meta-tegra's release notes (github.com/OE4T/meta-tegra/wiki), which name those pages. A release that no such
 * page pairs is not listed, and is told by its L4T number alone: the file does not say which JetPack it is.
 */
const jetpacks: Readonly<Record<string, string>> = {
  '35.4.1': '5.1.2',
  '35.5.0': '5.1.3',
  '35.6.0': '5.1.4',
  '36.2.0': '6.0 DP',
  '36.3.0': '6.0',
  '36.4.0': '6.1',
  '36.4.3': '6.2',
  '36.4.4': '6.2.1',
  '36.5.0': '6.2.2',
  '38.2.0': '7.0',
  '38.2.1': '7.0',
  '38.4.0': '7.1',
  '39.2.0': '7.2',
  '39.2.1': '7.2.1',
};

export interface TegraRelease {
  /** `36.4.3` */
  readonly l4t: string;
  readonly jetpack: string | null;
}

/** @param text of /etc/nv_tegra_release: `# R36 (release), REVISION: 4.3, GCID: ..., BOARD: generic, ...` */
export function parseTegraRelease(text: string): Parsed<TegraRelease> {
  const match = /^# R(\d+) \([^)]*\),.*?\bREVISION: (\d+(?:\.\d+)+)[,\s]/m.exec(text);
  if (match === null) return malformed('/etc/nv_tegra_release', '`# R<n> (release), REVISION: <n.n>,`', text);
  const l4t = `${match[1]}.${match[2]}`;
  return { value: { l4t, jetpack: jetpacks[l4t] ?? null } };
}

/** `L4T 36.4.3, JetPack 6.2` */
export function releaseName({ l4t, jetpack }: TegraRelease): string {
  return jetpack === null ? `L4T ${l4t}` : `L4T ${l4t}, JetPack ${jetpack}`;
}
