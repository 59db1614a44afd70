/** Opens a trained checkpoint folder: reads headers and configs only, checks everything, merges LoRA once. */

import { readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { SemanticVlaError } from '../errors.ts';
import { expected } from '../options.ts';
import { isFolder, isThere, whatIsAt } from '../support/fileAccess.ts';
import { NoticeLog, type OnNotice } from '../support/notices.ts';
import type { Checkpoint, DatasetStatistics, OpenCheckpointOptions } from './checkpoint.ts';
import { checkTensors } from './checkTensors.ts';
import { derivePolicyConfig, requirePolicy } from './deriveConfig.ts';
import { type ExpectedTensor, expectedTensors } from './expectedTensors.ts';
import { findArchives, sayMixedSteps } from './findArchives.ts';
import { findTokenizers } from './findTokenizers.ts';
import { JsonFields } from './jsonFields.ts';
import { collectTensors, isSplit, type LogicalTensor, type SplitTensor } from './logicalTensors.ts';
import { type MergeResult, mergeLora, readLoraScale } from './loraMerge.ts';
import { headNames, type PolicyConfig } from './policyConfig.ts';
import { readPreprocessor } from './preprocessor.ts';
import { readShards } from './shards.ts';
import { readStatistics } from './statistics.ts';
import type { TensorView } from './tensorView.ts';
import { readTorchArchive, type TorchArchive } from './torchArchive.ts';
import { verifySmallTensors } from './verifyTensors.ts';

const knownOptions = ['head', 'siglipText', 'cacheDir', 'onProgress', 'onNotice', 'signal'];

/**
 * Opens the checkpoint in the folder `dir`. Nothing in the folder is written, so it may be read-only; its files may be
 * links. Only headers and small tensors are read; merged LoRA weights are written to the cache the first time.
 *
 * Throws SemanticVlaError with the codes under "files of a checkpoint" in ../errors.ts, or the signal's reason.
 */
export async function openCheckpoint(dir: string, options: OpenCheckpointOptions = {}): Promise<Checkpoint> {
  checkOptions(dir, options);
  options.signal?.throwIfAborted();
  const notices = new NoticeLog(options.onNotice);
  const folder = await absoluteFolder(dir);
  const config = await JsonFields.read(
    join(folder, 'config.json'),
    'CHECKPOINT_NOT_A_POLICY',
    'CONFIG_INVALID',
  );
  requirePolicy(config);

  const files = await findArchives(folder, notices.add);
  sayMixedSteps(folder, files, notices.add);
  const preprocessor = await readPreprocessor(join(folder, 'preprocessor_config.json'));
  const shards = await readShards(folder);
  const archive = async (file: string | null) => (file === null ? null : await readTorchArchive(file));
  const visionBackbone = await archive(files.visionBackbone);
  const actionHead = await archive(files.actionHead);
  const proprioProjector = await archive(files.proprioProjector);
  options.signal?.throwIfAborted();

  const logical = collectTensors({ shards: shards.tensors, visionBackbone, actionHead, proprioProjector });
  const policy = await derivePolicyConfig({
    dir: folder,
    config,
    preprocessor,
    shapes: logical,
    siglipText: options.siglipText,
    statedHead: options.head,
    ...files,
  });
  const expected = expectedTensors(policy);
  checkTensors(folder, logical, expected);
  const statistics = await loadStatistics(folder, config, policy, notices.add);
  const siglipTextFolder = oneTextFolder(config, policy);
  const tokenizers = await findTokenizers(folder, siglipTextFolder);

  const merged = await merge(folder, logical, expected, visionBackbone, options);
  const tensors = finalTensors(logical, expected, merged);
  const archives = [visionBackbone, actionHead, proprioProjector].filter((item) => item !== null);
  await verifySmallTensors(
    tensors.values(),
    archives,
    options.signal === undefined ? {} : { signal: options.signal },
  );
  return {
    dir: folder,
    config: policy,
    tensors,
    statistics: statistics.datasets,
    pixelNormalization: { dinov2: preprocessor.dinov2, siglip: preprocessor.siglip },
    tokenizers,
    sources: {
      shards: shards.files,
      ...files,
      siglipTextFolder,
      statistics: statistics.file,
      loraMerged: merged?.report ?? null,
    },
    notices: notices.notices,
  };
}

function checkOptions(dir: string, options: OpenCheckpointOptions): void {
  if (typeof dir !== 'string' || dir === '' || dir.includes('\0')) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Expected the path of a checkpoint folder, found ${JSON.stringify(dir)}.`,
    );
  }
  if (options.head !== undefined && !headNames.includes(options.head))
    throw expected('OPTION_INVALID', `one of ${headNames.join(', ')}`, 'head', options.head);
  for (const key of Object.keys(options)) {
    if (knownOptions.includes(key)) continue;
    const close = knownOptions.find((known) => known.toLowerCase() === key.toLowerCase());
    throw new SemanticVlaError(
      'OPTION_UNKNOWN',
      `openCheckpoint: expected options ${knownOptions.join(', ')}, found ${key}${close === undefined ? '' : `; did you mean ${close}?`}.`,
    );
  }
}

async function absoluteFolder(dir: string): Promise<string> {
  if (!(await isFolder(dir))) {
    throw new SemanticVlaError(
      'CHECKPOINT_NOT_FOUND',
      `${dir}: expected a checkpoint folder, found ${await whatIsAt(dir)}. Pass the folder that holds config.json and the weights.`,
    );
  }
  return realpath(dir);
}

async function loadStatistics(
  dir: string,
  config: JsonFields,
  policy: PolicyConfig,
  onNotice: OnNotice,
): Promise<{ datasets: Map<string, DatasetStatistics>; file: string }> {
  const own = join(dir, 'dataset_statistics.json');
  if (await isThere(own, 'STATISTICS_INVALID')) {
    const datasets = readStatistics(
      await JsonFields.read(own, 'CHECKPOINT_FILE_MISSING', 'STATISTICS_INVALID'),
    );
    requireDimensions(own, datasets, policy);
    return { datasets, file: own };
  }
  if (config.has('norm_stats')) {
    const datasets = readStatistics(config.object('norm_stats'));
    requireDimensions(config.file, datasets, policy);
    onNotice({
      code: 'STATISTICS_FROM_CONFIG',
      message: `${own}: expected the statistics of the training run, found no such file${await similarNames(dir)}; using norm_stats of config.json, which are those of the model that training started from. Actions may come out in other units: copy dataset_statistics.json from the training run. Only of a policy that was not fine-tuned they are its own.`,
    });
    return { datasets, file: config.file };
  }
  throw new SemanticVlaError(
    'STATISTICS_INVALID',
    `${dir}: expected dataset_statistics.json (or norm_stats in config.json), found neither${await similarNames(dir)}; without them actions cannot be put in the robot's units. Copy dataset_statistics.json from the training run.`,
  );
}

/** Copies and misspellings of the file's name: named, never read. */
async function similarNames(dir: string): Promise<string> {
  const names = (await readdir(dir)).filter((name) =>
    /(dataset|action|norm).*stat.*json|norm_?stats/i.test(name),
  );
  return names.length === 0
    ? ''
    : ` (there is ${names.join(', ')}, which is not read: rename it if it is that file)`;
}

/** At least one dataset must fit the policy; those of other robots may lie in the same file. */
function requireDimensions(
  file: string,
  datasets: ReadonlyMap<string, DatasetStatistics>,
  policy: PolicyConfig,
): void {
  const { actionDim } = policy;
  if (actionDim === null) return;
  if (![...datasets.values()].some((dataset) => dataset.actionDim === actionDim)) {
    const lengths = [...datasets].map(([key, dataset]) => `${key} (${dataset.actionDim ?? 'no lists'})`);
    throw new SemanticVlaError(
      'STATISTICS_INVALID',
      `${file}: expected a dataset with actions of ${actionDim} dimensions, as the action head has, found ${lengths.join(', ')}. The statistics belong to another robot.`,
    );
  }
}

function oneTextFolder(config: JsonFields, { dinov2, siglip }: PolicyConfig): string | null {
  const folders = new Set(
    [dinov2, siglip].flatMap(({ sampler }) => (sampler === null ? [] : [sampler.textEncoder.folder])),
  );
  if (folders.size > 1) {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${config.file}: expected one SigLIP text folder for both towers' samplers, found ${[...folders].join(' and ')}.`,
    );
  }
  return [...folders][0] ?? null;
}

/** Blocks after the one whose output the policy takes: no prediction reads them, the `stages` command shows them. */
const blockTensor = /\.blocks\.\d+\./;

/** Merges the split tensors of the towers' blocks and all others that the policy uses; the rest stays as it is. */
async function merge(
  dir: string,
  logical: ReadonlyMap<string, LogicalTensor>,
  expected: ReadonlyMap<string, ExpectedTensor>,
  archive: TorchArchive | null,
  options: OpenCheckpointOptions,
): Promise<MergeResult | null> {
  const split = [...logical.values()].filter(
    (tensor): tensor is SplitTensor =>
      isSplit(tensor) &&
      expected.has(tensor.name) &&
      (blockTensor.test(tensor.name) || expected.get(tensor.name)?.optional === false),
  );
  if (split.length === 0) return null;
  const foreign = split.find((tensor) => tensor.base.file !== archive?.file);
  if (archive === null || foreign !== undefined) {
    throw new SemanticVlaError(
      'LORA_INVALID',
      `${foreign?.base.file ?? dir}: ${foreign?.name ?? ''}: expected LoRA weights only in vision_backbone--*.pt. Merge this file before loading.`,
    );
  }
  return mergeLora(archive, split, await readLoraScale(dir), options);
}

function finalTensors(
  logical: ReadonlyMap<string, LogicalTensor>,
  expected: ReadonlyMap<string, ExpectedTensor>,
  merged: MergeResult | null,
): Map<string, TensorView> {
  const out = new Map<string, TensorView>();
  for (const name of expected.keys()) {
    const tensor = logical.get(name);
    const view = merged?.tensors.get(name) ?? (tensor === undefined || isSplit(tensor) ? undefined : tensor);
    if (view !== undefined) out.set(name, view);
  }
  return out;
}
