/** Finds the checkpoint's folder; for everything else that people pass there is a message of its own. */

import { readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { isHubName } from '../hub/hubName.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isFolder, isThere, readText, whatIsAt } from '../support/fileAccess.ts';
import { checkpointOfHub, type PullOptions } from './hubCheckpoint.ts';

const configName = 'config.json';
/** Paths that a message lists. */
const listed = 5;
/** `org/name`, as a hub has them, or its address. */
const repository =
  /^(?:(?:https?:\/\/(?:www\.)?(?:huggingface\.co|hf\.co)|hf:\/)\/)?([\w.-]+\/[\w.-]+)(?:\/.*)?$/;
const hubFolder = /^models--(.+?)--(.+)$/;

/**
 * The absolute folder of the checkpoint at `dir`, links followed; `hf:owner/name` is fetched where it is not in the hub's cache.
 *
 * @throws (rejects) CHECKPOINT_NOT_FOUND there is no folder; CHECKPOINT_NOT_A_POLICY there is one without config.json, with
 *   the folder that was meant where that can be told
 */
export async function checkpointFolder(given: string, options: PullOptions = {}): Promise<string> {
  const dir = isHubName(given) ? await checkpointOfHub(given, options) : given;
  const found = await whatIsAt(dir);
  if (found !== 'a folder') {
    throw new SemanticVlaError(
      'CHECKPOINT_NOT_FOUND',
      `${dir}: expected a checkpoint folder, found ${found === 'a file' ? await fileInWords(dir) : await absentInWords(dir, found)}`,
    );
  }
  const folder = await realpath(dir);
  if (await isThere(join(folder, configName), 'CHECKPOINT_NOT_A_POLICY')) return folder;
  throw new SemanticVlaError(
    'CHECKPOINT_NOT_A_POLICY',
    `${dir}: expected the folder of a trained policy with ${configName}, found ${await folderInWords(folder)}`,
  );
}

async function fileInWords(file: string): Promise<string> {
  const folder = dirname(resolve(file));
  return (await holdsConfig(folder))
    ? `a file of one. Pass its folder: ${folder}`
    : `a file. Pass the folder that holds ${configName} and the weights.`;
}

async function absentInWords(dir: string, found: string): Promise<string> {
  const name = dir.startsWith('/') || dir.startsWith('.') ? undefined : repository.exec(dir)?.[1];
  if (name === undefined) return `${found}. Pass the folder that holds ${configName} and the weights.`;
  return `no folder of that name. If the repository ${name} at the hub is meant, pass hf:${name}`;
}

async function folderInWords(folder: string): Promise<string> {
  const names = (await readdir(folder)).sort();
  const hub = [folder, dirname(folder), dirname(dirname(folder))].find((place) =>
    hubFolder.test(basename(place)),
  );
  if (hub !== undefined || (names.includes('snapshots') && names.includes('blobs'))) {
    const place = hub ?? folder;
    const [, org, name] = hubFolder.exec(basename(place)) ?? [];
    const snapshot = await snapshotOf(place);
    const what = `a folder of a hub's cache${org === undefined ? '' : ` (${org}/${name})`}, whose files lie under snapshots/`;
    return snapshot === null
      ? `${what}, but no snapshot with ${configName}: the download is not complete. Run it again.`
      : `${what}. Pass the snapshot: ${snapshot}`;
  }
  if (names.length === 0) return 'an empty folder. Copy or download the checkpoint into it again.';
  if (names.includes('adapter_config.json')) {
    const above = dirname(folder);
    return (await holdsConfig(above))
      ? `the LoRA adapter of a checkpoint. Pass the folder above it: ${above}`
      : 'only a LoRA adapter (adapter_config.json). Merge it into its base model first, and pass the merged folder.';
  }
  const below = await policiesBelow(folder, names);
  if (below.length > 0) {
    const some = below.slice(0, listed).join(', ');
    const more = below.length > listed ? ` and ${below.length - listed} more` : '';
    return below.length === 1
      ? `one in a folder below it. Pass ${some}`
      : `${below.length} of them below it, as a run leaves its steps. Pass one of them: ${some}${more}`;
  }
  const weights = names.filter((name) => /\.(safetensors|pt|bin|gguf|onnx)$/.test(name));
  const what = weights.length > 0 ? `weights (${weights.slice(0, listed).join(', ')}) without it` : 'none';
  return `${what}. Copy ${configName} from the training run beside the weights, or pass the folder that holds both.`;
}

/** Folders with config.json, up to two levels down: runs keep theirs in `<run>/<step>` and `<run>/checkpoints/<step>`. */
async function policiesBelow(folder: string, names: readonly string[], levels = 2): Promise<string[]> {
  const found: string[] = [];
  for (const name of names.slice(0, 200)) {
    const place = join(folder, name);
    if (name.startsWith('.') || !(await isFolder(place))) continue;
    const snapshot = hubFolder.test(name) ? await snapshotOf(place) : null;
    if (snapshot !== null) found.push(snapshot);
    else if (await holdsConfig(place)) found.push(place);
    else if (levels > 1)
      found.push(...(await policiesBelow(place, await readdir(place).catch(() => []), levels - 1)));
  }
  return found;
}

/** The snapshot that `refs/main` names, else the only or last one; null when none holds a config. */
async function snapshotOf(place: string): Promise<string | null> {
  const main = await readText(join(place, 'refs', 'main'), {
    missing: 'CHECKPOINT_NOT_FOUND',
    cap: 4096,
  }).catch(() => '');
  const all = (await readdir(join(place, 'snapshots')).catch(() => [])).sort();
  const inOrder = [...all.filter((name) => name === main.trim()), ...all.reverse()];
  for (const name of inOrder) {
    const snapshot = join(place, 'snapshots', name);
    if (await holdsConfig(snapshot)) return snapshot;
  }
  return null;
}

function holdsConfig(folder: string): Promise<boolean> {
  return isThere(join(folder, configName), 'CHECKPOINT_NOT_FOUND').catch(() => false);
}
