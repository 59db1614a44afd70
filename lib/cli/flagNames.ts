/** Errors of the API name its options; here they name the flags of the command that was typed. */

import type { Command } from 'commander';

/** Options of the API whose flag has another name. */
const otherwise: Readonly<Record<string, string>> = {
  cacheDir: '--cache',
  tensorRt: '--tensorrt',
  graphs: '--no-cuda-graphs',
  token: '--token-file',
  'keys.cameras': '--camera',
  'keys.state': '--state-key',
  'keys.action': '--action-key',
  'keys.instruction': '--instruction-key',
  warmUpChunks: '--warm-up',
  durationMs: '--duration',
  limitMs: '--limit',
  turnMs: '--turn',
  sampleMs: '--sample',
  promptTokens: '--prompt-length',
  devices: '--hardware',
};

/** `expected option unnormKey` -> `expected --unnorm-key`. Names that are not flags of `command` are left alone. */
export function inFlags(message: string, command: Command | undefined): string {
  if (command === undefined) return message;
  // --proprio and --no-proprio are one option: the first of them names it
  const flags = new Map(command.options.toReversed().map((option) => [option.attributeName(), option.long!]));
  const longs = new Set(flags.values());
  const flagOf = (name: string): string | null => {
    const other = otherwise[name];
    return flags.get(name) ?? (other !== undefined && longs.has(other) ? other : null);
  };
  return message
    .replace(/\b(?:[Tt]he )?[Oo]ption ([a-z][\w.]*\w)/g, (text, name: string) => flagOf(name) ?? text)
    .replace(/ for ([a-z][\w.]*\w) but received\b/g, (text, name: string) => {
      const flag = flagOf(name);
      return flag === null ? text : ` for ${flag} but received`;
    });
}
