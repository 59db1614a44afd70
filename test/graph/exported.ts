/** Every golden and every variant, exported in place into a checkpoint folder of its own, with inputs for the models. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { type ExportReport, exportPolicy } from '../../lib/export/exportPolicy.ts';
import { buildInstructionGraph } from '../../lib/graph/instructionGraph.ts';
import type { OnnxModel } from '../../lib/graph/onnxModel.ts';
import { modelProto } from '../../lib/graph/onnxSchema.ts';
import { buildPolicyGraph } from '../../lib/graph/policyGraph.ts';
import { countTokens, type TokenCounts } from '../../lib/graph/tokenCounts.ts';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { checkpointOptions, gatherParts, type PolicyParts } from '../../lib/policy/policyParts.ts';
import { preprocessImages } from '../../lib/transforms/image.ts';
import { pickFrames } from '../../lib/transforms/pickFrames.ts';
import { encodePrompt } from '../../lib/transforms/prompt.ts';
import { normalizeProprio } from '../../lib/transforms/proprio.ts';
import type { Observation, PolicyOptions } from '../../lib/types.ts';
import { type GoldenName, goldenCopy } from '../helpers/golden.ts';
import { goldenCase, goldenNames, goldenOptions, goldenRoot } from '../helpers/goldenCase.ts';
import { variant, variantNames, variantObservation } from '../helpers/variants.ts';

export const policyNames: readonly string[] = [...goldenNames, ...variantNames];

/** One sample in the form that the two models take. */
export interface ModelSample {
  readonly promptIds: number[];
  readonly siglipIds: number[] | null;
  readonly images: Uint8Array;
  readonly proprio: Float32Array | null;
  /** [C * A] of the reference. */
  readonly normalized: number[];
}

export interface Exported {
  readonly dir: string;
  readonly parts: PolicyParts;
  readonly tokens: TokenCounts;
  readonly report: ExportReport;
  /** The graphs that were written, before encoding. */
  readonly models: { readonly instruction: OnnxModel; readonly policy: OnnxModel };
  /** Files in `dir` that the export made. */
  readonly added: readonly string[];
  readonly samples: readonly ModelSample[];
}

interface Source {
  readonly dir: string;
  readonly options: PolicyOptions;
  readonly samples: readonly {
    observation: Observation;
    instruction: string;
    unnormKey: string;
    normalized: number[];
  }[];
}

const made = new Map<string, Promise<Exported>>();

export function exported(name: string): Promise<Exported> {
  let result = made.get(name);
  if (result === undefined) {
    result = make(name);
    made.set(name, result);
  }
  return result;
}

/** The model as a reader of the file sees it. */
export function readModel(file: string): {
  readonly opsetImport: { domain: string; version: string }[];
  readonly functions: { name: string; domain: string }[];
  readonly graph: {
    readonly node: { name: string; opType: string; domain: string }[];
    readonly initializer: {
      name: string;
      dims: string[];
      dataType: number;
      rawData?: Uint8Array;
      externalData: { key: string; value: string }[];
    }[];
  };
} {
  return modelProto.toObject(modelProto.decode(readFileSync(file)), {
    longs: String,
    arrays: true,
    defaults: false,
  }) as ReturnType<typeof readModel>;
}

async function make(name: string): Promise<Exported> {
  const source = variantNames.includes(name)
    ? await variantSource(name)
    : await goldenSource(name as GoldenName);
  const { dir } = source;
  const checkpoint = await openCheckpoint(dir, {
    ...checkpointOptions(source.options),
    cacheDir: join(dir, 'cache'),
  });
  const parts = await gatherParts(checkpoint, { ...source.options, unnormKey: source.samples[0]!.unnormKey });
  const { config, tensors, pixelNormalization } = checkpoint;
  const { sizes } = parts;
  const before = files(dir);
  const report = await exportPolicy(checkpoint, { sizes });
  const graphOptions = { ...sizes, stages: false, mergeWeights: false };
  return {
    dir,
    parts,
    tokens: countTokens(config, sizes),
    report,
    models: {
      instruction: buildInstructionGraph(config, tensors, graphOptions),
      policy: buildPolicyGraph(config, tensors, pixelNormalization, graphOptions),
    },
    added: files(dir).filter((file) => !before.includes(file)),
    samples: await Promise.all(source.samples.map((sample) => modelSample(parts, sample))),
  };
}

function files(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' });
}

async function goldenSource(name: GoldenName): Promise<Source> {
  const { samples } = goldenCase(name);
  return {
    dir: goldenCopy(name),
    options: goldenOptions[name],
    samples: await Promise.all(
      samples.slice(0, 2).map(async (sample) => ({
        observation: (await readObservation(join(goldenRoot, name, sample.observation))).observation,
        instruction: sample.instruction,
        unnormKey: sample.unnorm_key,
        normalized: sample.normalized_fp32.flat(),
      })),
    ),
  };
}

async function variantSource(name: string): Promise<Source> {
  const { case: content, checkpoint } = variant(name);
  return {
    dir: checkpoint,
    options: { platform: 'custom', ...content.options },
    samples: await Promise.all(
      content.samples.map(async (sample) => ({
        observation: await variantObservation(sample),
        instruction: sample.instruction,
        unnormKey: content.unnorm_key,
        normalized: sample.normalized.flat(),
      })),
    ),
  };
}

async function modelSample(parts: PolicyParts, sample: Source['samples'][number]): Promise<ModelSample> {
  const { checkpoint, platform, tokenizers, promptLimits } = parts;
  const { promptIds, siglipIds } = encodePrompt(tokenizers, sample.instruction, promptLimits);
  const bounds = checkpoint.statistics.get(sample.unnormKey)!.proprio;
  return {
    promptIds: [...promptIds, tokenizers.llama.endId],
    siglipIds,
    images: await preprocessImages(pickFrames(sample.observation, platform.cameras), {
      imageSize: checkpoint.config.imageSize,
      centerCrop: platform.centerCrop,
      jpeg: platform.jpeg,
      threads: 1,
    }),
    proprio: platform.proprio
      ? normalizeProprio(sample.observation.state!, bounds!, platform.normalization)
      : null,
    normalized: sample.normalized,
  };
}
