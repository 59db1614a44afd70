/** Programs that have to succeed. */

import { spawnSync } from 'node:child_process';

export interface RunOptions {
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * What `command` printed on its standard output.
 *
 * @throws with the end of all that it printed, when it does not end with code 0
 */
export function run(
  command: string,
  args: readonly string[],
  { cwd, env = process.env }: RunOptions,
): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env,
    encoding: 'utf8',
    maxBuffer: 256 << 20,
  });
  if (status === 0) return stdout;
  const told = `${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`
    .trim()
    .split('\n')
    .slice(-30)
    .join('\n');
  throw new Error(`${command} ${args.join(' ')}: expected code 0, found ${status}\n${told}`);
}
