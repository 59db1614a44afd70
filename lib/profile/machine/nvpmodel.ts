/** The power mode of a Jetson. */

import { malformed, type Parsed } from './parsed.ts';

/**
 * @param text of `nvpmodel -q`: `NV Power Mode: MAXN` and its number on the next line; `--verbose` puts more lines around it
 *   and more words before it (`NVPM VERB: Current mode: NV Power Mode: 25W`)
 * @returns the mode's name: `MAXN`, `MAXN_SUPER`, `15W`, `MODE_30W`
 */
export function parseNvpmodel(text: string): Parsed<string> {
  const mode = powerModeIn(text);
  return mode === null ? malformed('nvpmodel -q', 'a line `NV Power Mode: <name>`', text) : { value: mode };
}

/** The name after the first `NV Power Mode:`, wherever in a line it stands; null if there is none, or its line is incomplete. */
export function powerModeIn(text: string): string | null {
  return /\bNV Power Mode: *(\S+)[ \t]*\r?\n/.exec(text)?.[1] ?? null;
}
