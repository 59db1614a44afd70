/**
 * A checkpoint named on a hub, `hf:owner/name[@revision]`: the folder of its snapshot in the hub's cache. Once fetched, it is
 * used without asking the hub; `pullCheckpoint` checks whether a branch has moved.
 */

import { join } from 'node:path';
import { HubCache } from '../hub/hubCache.ts';
import { type HubName, inWords, parseHubName } from '../hub/hubName.ts';
import { hubSettings } from '../hub/hubSettings.ts';
import { type HubFile, listRepository } from '../hub/listRepository.ts';
import { pullFiles } from '../hub/pullFiles.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import { checkOptions, checkSignal } from '../support/options.ts';
import type { OpenCheckpointOptions } from './checkpoint.ts';
import { isArchiveName } from './findArchives.ts';
import { indexedShards, indexName, singleName } from './shards.ts';

/** Options of `pullCheckpoint`. */
export type PullOptions = Pick<OpenCheckpointOptions, 'onProgress' | 'signal'>;

/** The local state of a named checkpoint. */
export interface PullReport {
  readonly name: string;
  /** The folder of the snapshot, for `loadPolicy`. */
  readonly folder: string;
  readonly commit: string;
  /** Number and bytes of the files from which a policy is opened; other files of the repository are not fetched. */
  readonly files: number;
  readonly bytes: number;
  /** Bytes fetched by this call. */
  readonly fetched: number;
}

const configName = 'config.json';

/**
 * Fetches a checkpoint into the hub's cache, or updates it. Continues what an earlier call began. A file is kept only if it has
 * the check sum stated by the hub.
 *
 * Reads `HF_ENDPOINT`, `HF_TOKEN` (else the token saved by `hf auth login`), `HF_HUB_CACHE`, `HF_HOME` and `HF_HUB_OFFLINE`.
 *
 * @param name `hf:owner/name` or `hf:owner/name@revision` (a branch, a tag or a commit)
 * @throws (rejects) OPTION_INVALID, CHECKPOINT_NOT_FOUND, CHECKPOINT_NOT_A_POLICY (before weights are fetched), UNAUTHORIZED,
 *   REMOTE_UNREACHABLE, REMOTE_FAILED, CHECKPOINT_CHANGED, CACHE_UNWRITABLE, OUTPUT_NO_SPACE, the signal's reason
 */
export async function pullCheckpoint(name: string, options: PullOptions = {}): Promise<PullReport> {
  checkOptions(options, ['onProgress', 'signal'], 'pullCheckpoint');
  checkSignal(options.signal);
  return pull(parseHubName(name), options);
}

/**
 * The folder of a named checkpoint, fetched if it is not there.
 * @throws (rejects) as pullCheckpoint
 */
export async function checkpointOfHub(text: string, options: PullOptions): Promise<string> {
  const name = parseHubName(text);
  const { cache: place } = await hubSettings();
  const cache = new HubCache(place, name);
  const commit = await cache.commitOf(name.revision);
  if (commit !== null && (await isComplete(cache, commit))) return cache.snapshot(commit);
  return (await pull(name, options)).folder;
}

/**
 * Whether weights and configuration are there. If we fetched them everything else is too, since the configuration comes last.
 */
async function isComplete(cache: HubCache, commit: string): Promise<boolean> {
  if (!(await cache.has(commit, configName))) return false;
  if (!(await cache.has(commit, indexName))) return cache.has(commit, singleName);
  for (const shard of await indexedShards(join(cache.snapshot(commit), indexName)))
    if (!(await cache.has(commit, shard))) return false;
  return true;
}

async function pull(name: HubName, options: PullOptions): Promise<PullReport> {
  const { signal } = options;
  const onProgress = isolated('onProgress of pullCheckpoint', options.onProgress);
  const settings = await hubSettings();
  const cache = new HubCache(settings.cache, name);
  if (settings.isOffline) return kept(name, cache);
  const { commit, files } = await listRepository(name, settings, signal);
  const common = { name, settings, cache, commit, signal };
  const config = files.find(({ path }) => path === configName);
  if (config === undefined) throw noPolicy(name, files);
  const index = files.find(({ path }) => path === indexName);
  let fetched = index === undefined ? 0 : await pullFiles({ ...common, files: [index] });
  const weights =
    index === undefined ? [singleName] : await indexedShards(join(cache.snapshot(commit), indexName));
  const needed = files.filter((file) => file !== config && isNeeded(file.path, weights));
  const absent = weights.filter((shard) => needed.every(({ path }) => path !== shard));
  if (absent.length > 0) {
    throw new SemanticVlaError(
      'CHECKPOINT_NOT_A_POLICY',
      `${inWords(name)}: expected the weights ${absent.slice(0, 5).join(', ')}, found no such file in the repository. Look at its list of files; nothing but the index was fetched.`,
    );
  }
  const all = [...needed, config];
  const step = `fetching ${inWords(name)}`;
  fetched += await pullFiles({
    ...common,
    files: all,
    onBytes: (done, total) => onProgress({ step, done, total, unit: 'bytes' }),
  });
  await cache.setCommit(name.revision, commit);
  const bytes = all.reduce((sum, { size }) => sum + size, 0);
  return { name: inWords(name), folder: cache.snapshot(commit), commit, files: all.length, bytes, fetched };
}

async function kept(name: HubName, cache: HubCache): Promise<PullReport> {
  const commit = await cache.commitOf(name.revision);
  if (commit !== null && (await isComplete(cache, commit)))
    return { name: inWords(name), folder: cache.snapshot(commit), commit, files: 0, bytes: 0, fetched: 0 };
  throw new SemanticVlaError(
    'REMOTE_UNREACHABLE',
    `${inWords(name)}: expected it whole in ${cache.folder}, since HF_HUB_OFFLINE is set, found ${commit === null ? 'no such revision' : 'a part of it'}. Run semanticvla pull ${inWords(name)} once with a network.`,
  );
}

function noPolicy(name: HubName, files: readonly HubFile[]): SemanticVlaError {
  const below = files.filter(({ path }) => path.endsWith(`/${configName}`)).map(({ path }) => path);
  const found =
    below.length === 0
      ? `${files.length} files without it`
      : `it only in folders: ${below.slice(0, 5).join(', ')}`;
  return new SemanticVlaError(
    'CHECKPOINT_NOT_A_POLICY',
    `${inWords(name)}: expected the repository of a trained policy with ${configName}, found ${found}. Nothing was fetched.`,
  );
}

/** The files that opening a policy may read; pictures, logs, optimizer states and code are not among them. */
function isNeeded(path: string, weights: readonly string[]): boolean {
  const parts = path.split('/');
  const file = parts.at(-1)!;
  if (parts.length > 2 || file.startsWith('.')) return false;
  if (parts.length === 1) {
    if (weights.includes(path)) return true;
    return /\.(json|model)$/.test(file) ? file !== 'trainer_state.json' : isArchiveName(file);
  }
  // the SigLIP text folder, whatever its name, and the adapter
  if (parts[0] === 'lora_adapter') return /^adapter_(config\.json|model\.safetensors)$/.test(file);
  return /\.(json|model)$/.test(file);
}
