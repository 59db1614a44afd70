/**
 * ONNX Runtime on a thread of the addon's own: a policy's graphs and the state of each encoded instruction.
 *
 * The binding of onnxruntime-node is not used. It computes on the thread that calls it, so it would need a worker thread, and a
 * worker that ends while it computes (process.exit, an exception nobody caught, `terminate()` of the worker around it) takes the
 * whole process with it: SIGABRT instead of the exit code.
 */

import { join } from 'node:path';
import { loadAddon, type NativeCpuRuntime, type NativeCpuWork } from '../addon/binding.ts';
import { findOnnxRuntime, prebuiltName } from '../addon/nativeFiles.ts';
import type { OnnxRuntimeOptions, Request } from '../addon/onnxMessages.ts';
import { stagePrefix } from '../graph/graphContext.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { reinstallCommand } from '../support/packageCommand.ts';

export class OnnxThread {
  readonly #runtime: NativeCpuRuntime;

  /** @throws BACKEND_UNAVAILABLE ONNX Runtime's library is not there or does not open; ADDON_NOT_BUILT */
  constructor() {
    // first: on other systems than Linux it says where policies run
    const addon = loadAddon();
    const library = onnxRuntimeFile();
    try {
      this.#runtime = addon.openCpuRuntime(library);
    } catch (cause) {
      throw new SemanticVlaError(
        'BACKEND_UNAVAILABLE',
        `ONNX Runtime (CPU): ${(cause as Error).message}. Install it again: ${reinstallCommand()}; semanticvla doctor shows more.`,
        { cause },
      );
    }
  }

  /** Requests run in order. Inputs are copied before it returns. The process stays alive while one is pending. */
  start(request: Request): NativeCpuWork {
    switch (request.kind) {
      case 'load':
        return this.#runtime.load({
          instruction: request.instruction,
          policy: request.policy,
          denoiser: request.denoiser,
          instructionWeights: request.instructionWeights,
          policyWeights: request.policyWeights,
          denoiserWeights: request.denoiserWeights,
          ...setup(request.options),
        });
      case 'encode':
        return this.#runtime.encode(request.state, request.inputs);
      case 'run':
        return this.#runtime.run(request.state, request.kept, request.inputs);
      case 'denoise':
        return this.#runtime.denoise(request.state, request.kept, request.inputs);
      case 'release':
        return this.#runtime.release(request.state);
      case 'endProfiling':
        return this.#runtime.endProfiling();
      case 'close':
        return this.#runtime.close();
    }
  }

  /** Ends the thread; only when nothing is pending. Idempotent. */
  end(): void {
    this.#runtime.end();
  }
}

function setup(
  options: OnnxRuntimeOptions,
): Omit<
  Parameters<NativeCpuRuntime['load']>[0],
  'instruction' | 'policy' | 'denoiser' | 'instructionWeights' | 'policyWeights' | 'denoiserWeights'
> {
  // the runtime adds a date to the prefix, and does not say the name
  const profile = (graph: 'instruction' | 'policy' | 'denoiser') =>
    options.profileFolder === undefined ? '' : join(options.profileFolder, graph);
  return {
    threads: options.threads,
    stagePrefix,
    instructionProfile: profile('instruction'),
    policyProfile: profile('policy'),
    denoiserProfile: profile('denoiser'),
    lean: options.weights !== 'folded',
    packedBytes: options.packedBytes ?? 0,
    config: sessionConfig(options),
  };
}

/** Session options of ONNX Runtime by their key. */
export function sessionConfig({
  weights,
  spinUs = 0,
  packedBytes = 0,
}: Pick<OnnxRuntimeOptions, 'weights' | 'spinUs' | 'packedBytes'>): Readonly<Record<string, string>> {
  return {
    // weights are named by absolute path below "/": no copy, no link, whatever folder or file system they lie in
    ...(weights === 'beside' ? {} : { 'session.model_external_initializers_file_folder_path': '/' }),
    // masked attention leaves denormal weights (1e-45), on which the CPU is ten times slower than on zero
    'session.set_denormal_as_zero': '1',
    // an engine's levels (lib/graph/tierLinear.ts) are computed as they are written: the fused product has no kernel for E4M3
    'session.disable_quant_qdq': '1',
    // spinning workers take the processor from everything else, and from the thread that they wait for
    'session.intra_op.allow_spinning': spinUs > 0 ? '1' : '0',
    ...(spinUs > 0 ? { 'session.intra_op.spin_duration_us': String(spinUs) } : {}),
    // bf16 weights stay mapped and are widened at each use: no folding, no packed copies, no arena that would keep either
    ...(weights === 'folded' ? {} : { 'optimization.disable_specified_optimizers': 'ConstantFolding' }),
    ...(packedBytes > 0 || weights === 'folded' ? {} : { 'session.disable_prepacking': '1' }),
  };
}

/** @throws BACKEND_UNAVAILABLE */
function onnxRuntimeFile(): string {
  const found = findOnnxRuntime();
  if (found !== null) return found.file;
  throw new SemanticVlaError(
    'BACKEND_UNAVAILABLE',
    `ONNX Runtime (CPU): expected its library in the package ${prebuiltName()} or onnxruntime-node, found none. Install the dependencies again on this machine: ${reinstallCommand()}`,
  );
}
