/** Starts a worker thread from a module beside the caller, compiled or not. */

import { Worker } from 'node:worker_threads';

/**
 * @param module without extension, relative to `base`, e.g. `./onnxWorker`
 * @param base the caller's `import.meta.url`
 */
export function startWorker(module: string, base: string, name: string): Worker {
  if (!base.endsWith('.ts')) return new Worker(new URL(`${module}.js`, base), { name });
  // run from sources (tests): a thread does not inherit tsx's module hooks on Node 20, so it registers them itself
  const url = JSON.stringify(new URL(`${module}.ts`, base).href);
  const bootstrap = `import('tsx/esm/api').then(({ register }) => { register(); return import(${url}); })`;
  return new Worker(bootstrap, { eval: true, name });
}
