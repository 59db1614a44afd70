/** Errors of the API name its options; here they name the flags of the command that was typed. */

import type { Command, Option } from 'commander';

/** Options of the API whose flag has another name. */
const otherwise: Readonly<Record<string, string>> = {
  cacheDir: '--cache',
  seed: '--noise-seed',
  rotate: '--upside-down',
  tensorRt: '--tensorrt',
  graphs: '--no-cuda-graphs',
  token: '--token-file',
  dir: '--flight-recorder',
  'act.port': '--act',
  'openpi.port': '--openpi',
  'keys.cameras': '--camera',
  'keys.state': '--state-key',
  'keys.action': '--action-key',
  'keys.instruction': '--instruction-key',
  turn: '--rotate',
  warmUpChunks: '--warm-up',
  warmUpMs: '--warm-up',
  rateHz: '--rate',
  deadlineMs: '--deadline',
  durationMs: '--duration',
  limitMs: '--limit',
  turnMs: '--turn',
  sampleMs: '--sample',
  frame: '--frame-size',
  percentiles: '--percentile',
  promptTokens: '--prompt-length',
  cameraCount: '--camera-counts',
  devices: '--hardware',
};

const name = String.raw`[a-z][\w.]*\w|[a-z]`;
const names = `(?:${name})(?:, (?:${name}))*(?: (?:and|or) (?:${name}))?`;

/**
 * `expected option unnormKey` -> `expected --unnorm-key`. Names that are not flags of `command` are left alone.
 *
 * The forms in which the API names an option: `option NAME`, `options NAME, NAME and NAME`, `for NAME but received`
 * (lib/support/options.ts), and what a caller would write, `NAME: 'value'`.
 */
export function inFlags(message: string, command: Command | undefined): string {
  if (command === undefined) return message;
  const visible = command.options.filter(({ hidden }) => !hidden);
  // --proprio and --no-proprio are one option: the first of them names it
  const flags = new Map(visible.toReversed().map((option) => [option.attributeName(), option]));
  const byLong = new Map(visible.map((option) => [option.long!, option]));
  const flagOf = (name: string): Option | undefined =>
    byLong.get((Object.hasOwn(otherwise, name) && otherwise[name]) || '') ?? flags.get(name);
  const said = (text: string, name: string, shown: (flag: string) => string): string => {
    const flag = flagOf(name)?.long;
    return flag ? shown(flag) : text;
  };
  return message
    .replace(
      new RegExp(String.raw`\b(?:[Tt]he )?[Oo]ption (${name}) is (true|false)\b`, 'g'),
      (text, name: string, value: string) => {
        const long = flagOf(name)?.long?.replace(/^--no-/, '--');
        const given = long && (value === 'true' ? long : long.replace('--', '--no-'));
        return given && byLong.has(given) ? `${given} was given` : text;
      },
    )
    .replace(new RegExp(String.raw`\b(?:[Tt]he )?[Oo]ption (${name})`, 'g'), (text, name: string) =>
      said(text, name, (flag) => flag),
    )
    .replace(new RegExp(String.raw`\b(?:[Tt]he )?[Oo]ptions (${names})`, 'g'), (text, list: string) => {
      const each = list.split(/, | and | or /);
      if (each.some((name) => flagOf(name) === undefined)) return text;
      return list.replace(new RegExp(name, 'g'), (name) =>
        name === 'and' || name === 'or' ? name : flagOf(name)!.long!,
      );
    })
    .replace(new RegExp(String.raw` for (${name}) but received\b`, 'g'), (text, name: string) =>
      said(text, name, (flag) => ` for ${flag} but received`),
    )
    .replace(new RegExp(String.raw`\b(${name}): '([\w-]+)'`, 'g'), (text, name: string, value: string) =>
      said(text, name, (flag) => `${flag} ${value}`),
    );
}
