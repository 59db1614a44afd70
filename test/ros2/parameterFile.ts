/** Reads a ROS 2 parameter file: the flat lists and scalars of one node, which is all the YAML that an example needs. */

import { readFileSync } from 'node:fs';

/** A bare `y` or `n` is a boolean to ROS's parser, and no string. */
const booleans = new Set(['y', 'n', 'yes', 'no', 'on', 'off', 'true', 'false']);

function scalar(text: string): unknown {
  const quoted = /^'(.*)'$/.exec(text);
  if (quoted !== null) return quoted[1]!;
  if (booleans.has(text.toLowerCase())) return /^(?:y|yes|on|true)$/i.test(text);
  return Number.isNaN(Number(text)) ? text : Number(text);
}

export function parametersOf(file: string | URL): Record<string, unknown> {
  const lines = readFileSync(file, 'utf8').matchAll(/^ {4}([\w.]+): (.+)$/gm);
  return Object.fromEntries(
    [...lines].map(([, name, text]) => {
      const list = /^\[(.*)\]$/.exec(text!);
      return [name!, list === null ? scalar(text!) : list[1]!.split(',').map((item) => scalar(item.trim()))];
    }),
  );
}
