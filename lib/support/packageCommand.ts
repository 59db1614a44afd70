/** Commands of this package as a user has to type them: in a clone, or in a project that depends on it. */

import { fileURLToPath } from 'node:url';

const packageRoot = fileURLToPath(new URL('../../', import.meta.url));

/**
 * `command` as it is in a clone; through `npm explore` where the package is a dependency, because npm runs scripts of the
 * project one stands in.
 *
 * @param command as it works in the package's own folder, such as `npm run build:native`
 * @param root folder of the package, with a slash at the end
 */
export function packageCommand(command: string, root: string = packageRoot): string {
  if (!/[\\/]node_modules[\\/]/.test(root)) return command;
  // a shell of its own, so that `A && B` stays together
  return `npm explore semanticvla -- ${command.includes('&&') ? `"${command}"` : command}`;
}
