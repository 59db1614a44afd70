/** Reads a ROS 2 parameter file: the flat lists and scalars of one node, which is all the YAML that an example needs. */

import { readFileSync } from 'node:fs';

const scalar = (text: string): unknown => (Number.isNaN(Number(text)) ? text : Number(text));

export function parametersOf(file: string | URL): Record<string, unknown> {
  const lines = readFileSync(file, 'utf8').matchAll(/^ {4}([\w.]+): (.+)$/gm);
  return Object.fromEntries(
    [...lines].map(([, name, text]) => {
      const list = /^\[(.*)\]$/.exec(text!);
      return [name!, list === null ? scalar(text!) : list[1]!.split(',').map((item) => scalar(item.trim()))];
    }),
  );
}
