/** One ONNX model to one TensorRT plan, with progress and cancellation; nothing in here knows the policy. */

import { loadAddon, type NativeBuildResult, type NativeInputRange } from '../addon/binding.ts';
import type { Progress } from '../checkpoint/checkpoint.ts';
import { whenAborted } from '../support/abort.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import { packageCommand } from '../support/packageCommand.ts';
import { type FoundTensorRt, findParser } from './findTensorRt.ts';

export interface EngineModel {
  /** For messages: `policy`, `instruction`. */
  readonly name: string;
  readonly onnx: Uint8Array;
  /** From where the model's external data are found; empty when it has none. */
  readonly path: string;
  readonly profiles: readonly (readonly NativeInputRange[])[];
  /** Plugin layers it must hold, by name. */
  readonly plugins: Readonly<Record<string, number>>;
}

export interface EngineOptions {
  /** Compute capabilities (89); empty: the device at hand. */
  readonly targets: readonly number[];
  /** 0..5; null: TensorRT's default. */
  readonly optimizationLevel: number | null;
  /** Scratch memory of a layer; null: TensorRT's default. */
  readonly workspaceBytes: number | null;
  /** From an earlier build on this device. */
  readonly timingCache?: Uint8Array;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export type BuiltEngine = Omit<NativeBuildResult, 'isCancelled'> & { readonly seconds: number };

/** @throws (rejects) ENGINE_BUILD_FAILED, TENSORRT_NOT_FOUND, or the signal's reason */
export async function buildEngine(
  tensorRt: FoundTensorRt,
  model: EngineModel,
  options: EngineOptions,
): Promise<BuiltEngine> {
  const { signal } = options;
  const tell = isolated('onProgress', options.onProgress);
  signal?.throwIfAborted();
  const started = performance.now();
  const build = loadAddon().buildEngine(
    {
      library: tensorRt.library,
      parser: findParser(tensorRt),
      module: tensorRt.module,
      model: model.onnx,
      modelPath: model.path,
      profiles: model.profiles,
      targets: options.targets,
      optimizationLevel: options.optimizationLevel ?? -1,
      workspaceBytes: options.workspaceBytes ?? 0,
      timingCache: options.timingCache ?? new Uint8Array(),
      plugins: model.plugins,
    },
    ({ phase, parent, step, steps }) => {
      // nested phases come by the thousand and are of no use
      if (parent !== '' && !parent.startsWith('Building engine')) return;
      tell({
        step: `${model.name}: ${phase}`,
        done: Math.min(step, steps),
        total: steps,
        unit: 'steps',
      });
    },
  );
  const stop = whenAborted(signal, () => build.cancel());
  try {
    const { isCancelled, ...result } = await build.done;
    if (isCancelled) signal?.throwIfAborted();
    return { ...result, seconds: (performance.now() - started) / 1000 };
  } catch (cause) {
    if (signal?.aborted) throw signal.reason;
    throw failed(tensorRt, model, options, cause);
  } finally {
    stop();
  }
}

function failed(
  tensorRt: FoundTensorRt,
  model: EngineModel,
  options: EngineOptions,
  cause: unknown,
): SemanticVlaError {
  const reason = (cause as Error).message;
  return new SemanticVlaError(
    'ENGINE_BUILD_FAILED',
    `Engine ${model.name}: expected TensorRT ${tensorRt.version} (${tensorRt.library}) to build it, found: ${reason}\n${advice(tensorRt, options, reason)}`,
    { cause },
  );
}

/** The next step for failures whose own message does not help. */
function advice(tensorRt: FoundTensorRt, options: EngineOptions, reason: string): string {
  const resource = /libnvinfer_builder_resource\S*\.so[.\d]*/.exec(reason)?.[0].replace(/\.$/, '');
  if (resource !== undefined) {
    return `${resource} is part of this version's package (apt: libnvinfer${tensorRt.version.split('.', 1)[0]}; pip: tensorrt-cu12-libs or tensorrt-cu13-libs of NVIDIA's index): put it beside ${tensorRt.library}.`;
  }
  if (tensorRt.family !== 'rtx1' && /did not create a builder/.test(reason)) {
    return 'TensorRT builds on the GPU that will run the engine, and needs its driver: check nvidia-smi. Without a GPU, TensorRT-RTX builds: pip install tensorrt-rtx-cu13-libs, then --tensorrt with its folder and --target.';
  }
  if (/refused target/.test(reason)) {
    return 'TensorRT-RTX builds for sm_75, 80, 86, 89, 120 and 121. Jetson (sm_87, sm_110) and data-centre Hopper engines are built by TensorRT on the device itself, without --target.';
  }
  if (
    tensorRt.version.startsWith('10.13.3') &&
    /sm_?87|compute capability 8\.7|no kernel image|Could not find any implementation/i.test(reason)
  ) {
    return 'TensorRT 10.13.3 was released without sm_87 (Jetson Orin): install 10.13.2, or 10.14 or newer.';
  }
  if (/plugins in the parsed network/.test(reason)) {
    return `A plugin was not found by the parser, or another library registered one of its name. Build the modules again: ${packageCommand('npm run build:native')}.`;
  }
  if (/out of memory|bad_alloc|cudaErrorMemoryAllocation/i.test(reason)) {
    return `Close what else uses the device, or lower --workspace (now ${options.workspaceBytes ?? 'the whole device'}).`;
  }
  return "The lines above are TensorRT's. An engine of another precision or optimization level may build.";
}
