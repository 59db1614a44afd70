/**
 * The engine's process: loads the policy it is told to, predicts when asked, and sends heartbeats in between. Started by
 * engineChild.ts with the link on descriptor 3 and, for the transport `shared`, the shared file on descriptor 4.
 */

import { Socket } from 'node:net';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { checkedChunk } from '../support/checkedChunk.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { policyFacts } from '../support/policyFacts.ts';
import type { Policy, PolicyOptions } from '../types.ts';
import { checkedStages } from './checkedStages.ts';
import { EngineLink } from './engineLink.ts';
import {
  type EngineSource,
  type FromEngine,
  packChunk,
  packStages,
  type ToEngine,
  unpackObservation,
  type WireArray,
  type WireError,
} from './engineMessages.ts';

const linkFd = 3;
const sharedFd = process.argv[2] === 'shared' ? 4 : null;

/**
 * Ends this process when its parent is gone, even if the main thread hangs: an orphan gets a new parent. The parent passes its
 * own id, since it may be gone before this thread first looks.
 */
const orphanGuard = `
  const look = () => { if (process.ppid !== ${Number(process.argv[3])}) process.kill(process.pid, 'SIGKILL'); };
  look();
  setInterval(look, 1000);
`;
new Worker(orphanGuard, { eval: true, execArgv: [], name: 'semanticvla-orphan-guard' }).unref();

// a terminal interrupts the whole process group, but the supervisor decides when the engine ends
process.on('SIGINT', () => {});

const socket = new Socket({ fd: linkFd, readable: true, writable: true });
socket.on('close', () => process.exit(0));
socket.on('error', () => process.exit(0));

let policy: Policy | null = null;
const running = new Map<number, AbortController>();
const link = new EngineLink<FromEngine, ToEngine>(
  socket,
  { sharedFd, side: 'engine' },
  (message, arrays) => void receive(message, arrays),
  (error) => {
    throw error;
  },
);

function wireError(error: unknown): WireError {
  if (error instanceof Error) {
    const { code } = error as { code?: unknown };
    const typed = error.name === 'SemanticVlaError' && typeof code === 'string';
    return { code: typed ? code : null, message: error.message };
  }
  return { code: null, message: String(error) };
}

async function open(source: EngineSource): Promise<Policy> {
  if ('checkpoint' in source) {
    const { loadPolicy } = await import('../policy/loadPolicy.ts');
    return loadPolicy(source.checkpoint, source.options as PolicyOptions | undefined);
  }
  const url = source.module.startsWith('file:') ? source.module : pathToFileURL(source.module).href;
  const { createPolicy } = (await import(url)) as {
    createPolicy?: (options: unknown) => Policy | Promise<Policy>;
  };
  if (typeof createPolicy !== 'function') {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Engine module ${source.module}: expected an exported function createPolicy(options), found ${typeof createPolicy}.`,
    );
  }
  return createPolicy(source.options ?? {});
}

async function receive(message: ToEngine, arrays: readonly WireArray[]): Promise<void> {
  switch (message.kind) {
    case 'start':
      try {
        policy = await open(message.source);
        const facts = policyFacts(policy, 'the engine module');
        link.send({ kind: 'ready', facts }, []);
        setInterval(() => link.send({ kind: 'beat' }, []), message.beatMs).unref();
      } catch (error) {
        link.send({ kind: 'refused', error: wireError(error) }, []);
      }
      return;
    case 'abort':
      running.get(message.id)?.abort();
      return;
    case 'close':
      await policy?.close();
      socket.end();
      return;
    default:
      await answer(message, arrays);
  }
}

async function answer(
  request: Extract<ToEngine, { kind: 'predict' | 'stages' }>,
  arrays: readonly WireArray[],
): Promise<void> {
  const { kind, id } = request;
  const start = performance.now();
  const controller = new AbortController();
  running.set(id, controller);
  try {
    const observation = unpackObservation(request.observation, arrays);
    const options = { ...request.options, signal: controller.signal };
    if (policy === null) throw new Error('asked before it was ready');
    const out: WireArray[] = [];
    if (kind === 'predict') {
      // an invalid result of a user's own policy is an error of that policy; its engine lives on
      const chunk = packChunk(checkedChunk(await policy.predict(observation, options), policy), out);
      link.send({ kind: 'chunk', id, chunk, ms: performance.now() - start }, out);
    } else {
      link.send(
        { kind, id, stages: packStages(checkedStages(await policy.stages(observation, options)), out) },
        out,
      );
    }
  } catch (error) {
    link.send({ kind: 'error', id, error: wireError(error) }, []);
  } finally {
    running.delete(id);
  }
}
