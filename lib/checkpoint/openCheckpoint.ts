/** Opens a trained checkpoint folder: reads headers and configs only, checks everything, merges LoRA once. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { isThere } from '../support/fileAccess.ts';
import { type Notice, NoticeLog, type OnNotice } from '../support/notices.ts';
import { expected } from '../support/options.ts';
import {
  type Checkpoint,
  type DatasetStatistics,
  type OpenCheckpointOptions,
  openCheckpointOptionNames,
  type WeightRounding,
  weightRoundings,
} from './checkpoint.ts';
import { checkpointFolder } from './checkpointFolder.ts';
import { checkTensors } from './checkTensors.ts';
import { derivePolicyConfig, requirePolicy } from './deriveConfig.ts';
import { type ExpectedTensor, expectedTensors } from './expectedTensors.ts';
import { statesOf } from './fileStates.ts';
import { findArchives, sayMixedSteps } from './findArchives.ts';
import { findTokenizers } from './findTokenizers.ts';
import { JsonFields } from './jsonFields.ts';
import { collectTensors, fileOf, isSplit, type LogicalTensor } from './logicalTensors.ts';
import { type MadeWeights, makeWeights, readLoraScale } from './loraMerge.ts';
import { headNames, type PolicyConfig } from './policyConfig.ts';
import { readPreprocessor } from './preprocessor.ts';
import { refuseQuantizedConfig } from './quantized.ts';
import { readShards } from './shards.ts';
import { readStatistics } from './statistics.ts';
import type { TensorView } from './tensorView.ts';
import { readTorchArchive, type TorchArchive } from './torchArchive.ts';
import { verifySmallTensors } from './verifyTensors.ts';
import type { WeightMaking } from './weightBlocks.ts';

/**
 * Opens the checkpoint in the folder `dir`. Nothing in the folder is written, so it may be read-only; its files may be
 * links. Only headers and small tensors are read; merged and rounded weights are written to the cache the first time.
 *
 * @param dir folder, or `hf:owner/name[@revision]`
 * @param options what the folder does not say, and where merged weights are kept
 * @throws (rejects) the codes under "files of a checkpoint" of `ErrorCode`, or the signal's reason
 */
export async function openCheckpoint(dir: string, options: OpenCheckpointOptions = {}): Promise<Checkpoint> {
  checkOptions(dir, options);
  options.signal?.throwIfAborted();
  const notices = new NoticeLog(options.onNotice);
  const folder = await checkpointFolder(dir, options);
  const config = await JsonFields.read(
    join(folder, 'config.json'),
    'CHECKPOINT_NOT_A_POLICY',
    'CONFIG_INVALID',
  );
  requirePolicy(config);
  await refuseQuantizedConfig(folder, config);

  const files = await findArchives(folder, notices.add);
  sayMixedSteps(folder, files, notices.add);
  const preprocessor = await readPreprocessor(join(folder, 'preprocessor_config.json'));
  const shards = await readShards(folder);
  const archive = async (file: string | null) => {
    if (file === null) return null;
    const read = await readTorchArchive(file);
    if (!read.hasCrc) notices.add(withoutCrc(file));
    return read;
  };
  const visionBackbone = await archive(files.visionBackbone);
  const actionHead = await archive(files.actionHead);
  const proprioProjector = await archive(files.proprioProjector);
  const noisyActionProjector = await archive(files.noisyActionProjector);
  options.signal?.throwIfAborted();

  const parts = { visionBackbone, actionHead, proprioProjector, noisyActionProjector };
  const logical = collectTensors({ shards: shards.tensors, ...parts });
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

  const archives = Object.values(parts).filter((item) => item !== null);
  const { rounding = 'bfloat16' } = options;
  const makings = planWeights(logical, expected, { rounding, merges: policy.family === 'semanticvla' });
  requireLoraIn(visionBackbone, makings);
  const made = await make(folder, makings, archives, { ...options, onNotice: notices.add });
  const tensors = finalTensors(logical, expected, made);
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
    files: await statesOf(
      [...tensors.values()].map(({ file }) => file),
      made?.report.file,
    ),
    sources: {
      shards: shards.files,
      ...files,
      siglipTextFolder,
      statistics: statistics.file,
      rounding,
      madeWeights: made?.report ?? null,
      madeOf: new Map(makings.map(({ source }) => [source.name, fileOf(source)])),
    },
    notices: notices.notices,
  };
}

function checkOptions(dir: string, options: OpenCheckpointOptions): void {
  if (typeof dir !== 'string' || dir === '' || dir.includes('\0')) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Expected the path of a checkpoint folder, or hf:owner/name, found ${JSON.stringify(dir)}.`,
    );
  }
  const { head, rounding } = options;
  if (head !== undefined && !headNames.includes(head))
    throw expected('OPTION_INVALID', `one of ${headNames.join(', ')}`, 'head', head);
  if (rounding !== undefined && !weightRoundings.includes(rounding)) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option rounding: expected ${weightRoundings.join(' or ')}, found ${String(rounding)}.`,
    );
  }
  for (const key of Object.keys(options)) {
    if ((openCheckpointOptionNames as readonly string[]).includes(key)) continue;
    const close = openCheckpointOptionNames.find((known) => known.toLowerCase() === key.toLowerCase());
    throw new SemanticVlaError(
      'OPTION_UNKNOWN',
      `openCheckpoint: expected options ${openCheckpointOptionNames.join(', ')}, found ${key}${close === undefined ? '' : `; did you mean ${close}?`}.`,
    );
  }
}

function withoutCrc(file: string): Notice {
  return {
    code: 'ARCHIVE_WITHOUT_CRC',
    message: `${file}: expected CRCs of its entries, found none (torch.serialization.set_crc32_options(False)). It is read; damage to it would not show.`,
  };
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

/** Copies and misspellings of the file's name: named in the error, never read. */
async function similarNames(dir: string): Promise<string> {
  const names = (await readdir(dir)).filter((name) =>
    /(dataset|action|norm).*stat.*json|norm_?stats/i.test(name),
  );
  return names.length === 0
    ? ''
    : ` (there is ${names.join(', ')}, which is not read: rename it if it is that file)`;
}

/** At least one dataset must fit the policy; the file may hold those of other robots too. */
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

/**
 * Which weights are not used as stored, and how each is made: the split ones and, with rounding, what is not bfloat16;
 * of the towers' blocks and all others that the policy uses.
 * @param merges whether the family's reference merges LoRA; OpenVLA-OFT's runs `W x + alpha/r * B (A x)`
 */
function planWeights(
  logical: ReadonlyMap<string, LogicalTensor>,
  expected: ReadonlyMap<string, ExpectedTensor>,
  { rounding, merges }: { readonly rounding: WeightRounding; readonly merges: boolean },
): WeightMaking[] {
  const how = rounding === 'none' ? 'merged' : merges ? 'mergedInBfloat16' : 'mergedOfRounded';
  const makings: WeightMaking[] = [];
  for (const [name, { optional }] of expected) {
    const source = logical.get(name);
    if (source === undefined || (optional && !blockTensor.test(name))) continue;
    if (isSplit(source)) makings.push({ how, source });
    else if (rounding === 'bfloat16' && source.dtype !== 'BF16') makings.push({ how: 'rounded', source });
  }
  return makings;
}

function requireLoraIn(archive: TorchArchive | null, makings: readonly WeightMaking[]): void {
  const foreign = makings.find(({ how, source }) => how !== 'rounded' && fileOf(source) !== archive?.file);
  if (foreign === undefined) return;
  const { source } = foreign;
  throw new SemanticVlaError(
    'LORA_INVALID',
    `${fileOf(source)}: ${source.name}: expected LoRA weights only in vision_backbone--*.pt. Merge this file before loading.`,
  );
}

async function make(
  dir: string,
  makings: readonly WeightMaking[],
  archives: readonly TorchArchive[],
  options: OpenCheckpointOptions,
): Promise<MadeWeights | null> {
  if (makings.length === 0) return null;
  const scale = makings.some(({ how }) => how !== 'rounded') ? await readLoraScale(dir) : null;
  return makeWeights(makings, archives, scale, options);
}

function finalTensors(
  logical: ReadonlyMap<string, LogicalTensor>,
  expected: ReadonlyMap<string, ExpectedTensor>,
  made: MadeWeights | null,
): Map<string, TensorView> {
  const out = new Map<string, TensorView>();
  for (const name of expected.keys()) {
    const tensor = logical.get(name);
    const view = made?.tensors.get(name) ?? (tensor === undefined || isSplit(tensor) ? undefined : tensor);
    if (view !== undefined) out.set(name, view);
  }
  return out;
}
