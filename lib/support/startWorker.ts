/** Starts a worker thread from a module beside the caller, compiled or not. */

import { Worker } from 'node:worker_threads';

/**
 * The thread does not inherit the program's own flags: some are refused in a thread (`--input-type`, of a program given
 * with -e), others would load the caller's hooks into it.
 *
 * @param module without extension, relative to `base`, e.g. `./flightWorker`
 * @param base the caller's `import.meta.url`
 */
export function startWorker(module: string, base: string, name: string): Worker {
  const options = { name, execArgv: [] };
  if (!base.endsWith('.ts')) return new Worker(new URL(`${module}.js`, base), options);
  // run from sources (tests): a thread has no module hooks of tsx, so it registers them itself
  const url = JSON.stringify(new URL(`${module}.ts`, base).href);
  // resolved from here: the thread would resolve it from the process's working directory
  const tsx = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  const bootstrap = `import(${tsx}).then(({ register }) => { register(); return import(${url}); })`;
  return new Worker(bootstrap, { ...options, eval: true });
}
