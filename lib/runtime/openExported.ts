/** Checks that the shipped runtime opens exported models as any program would: from files, with the weights beside them. */

import { SemanticVlaError } from '../support/errors.ts';
import { OnnxThread } from './onnxThread.ts';
import { RequestQueue } from './requestQueue.ts';

/**
 * Loads both models and closes them again. Their weights are mapped, not read.
 *
 * @throws (rejects) RUNTIME_FAILED with the runtime's words, BACKEND_UNAVAILABLE, ADDON_NOT_BUILT, the signal's reason
 */
export async function openExported(
  files: { readonly instruction: string; readonly policy: string },
  signal?: AbortSignal,
): Promise<void> {
  const thread = new OnnxThread();
  const queue = new RequestQueue((request) => thread.start(request));
  try {
    await queue.send(
      {
        kind: 'load',
        ...files,
        denoiser: '',
        instructionWeights: [],
        policyWeights: [],
        denoiserWeights: [],
        options: { threads: 1, weights: 'beside' },
      },
      signal,
    );
  } catch (cause) {
    signal?.throwIfAborted();
    const { instruction, policy } = files;
    throw new SemanticVlaError(
      'RUNTIME_FAILED',
      `${instruction}, ${policy}: expected models that ONNX Runtime opens, found: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  } finally {
    // the thread ends when it has closed what it was loading
    await queue.send({ kind: 'close' }).catch(() => undefined);
    thread.end();
  }
}
