/** A command line in this process: faster than one of its own, for commands that end by themselves. */

import { main } from '../../lib/cli/main.ts';

/** What a command line prints, and its exit code. */
export async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { stdout, stderr } = process;
  const kept = [stdout.write, stderr.write] as const;
  const text = { out: '', err: '' };
  const catching = (to: 'out' | 'err') =>
    ((part: string | Uint8Array) => {
      text[to] += part;
      return true;
    }) as typeof stdout.write;
  stdout.write = catching('out');
  stderr.write = catching('err');
  try {
    const code = await main(args);
    return { code, ...text };
  } finally {
    [stdout.write, stderr.write] = kept;
    // main is made for one command a process
    for (const stream of [stdout, stderr]) stream.removeAllListeners('error');
  }
}
