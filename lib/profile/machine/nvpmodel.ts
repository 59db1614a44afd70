/** The power mode of a Jetson. */

import { malformed, type Parsed } from './parsed.ts';

/**
 * @param text of `nvpmodel -q`: `NV Power Mode: MAXN` and its number on the next line; `--verbose` puts more lines around it
 * @returns the mode's name: `MAXN`, `MAXN_SUPER`, `15W`, `MODE_30W`
 */
export function parseNvpmodel(text: string): Parsed<string> {
  const match = /^NV Power Mode: ([\w-]+)[ \t]*\r?\n/m.exec(text);
  return match === null
    ? malformed('nvpmodel -q', 'a line `NV Power Mode: <name>`', text)
    : { value: match[1]! };
}
