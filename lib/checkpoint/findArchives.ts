/**
 * Finds the `.pt` archives of a trained policy as the reference's `find_checkpoint_file` does: the one name in the folder that holds
 * both the kind and the word `checkpoint`. A similar name is never loaded and never ignored: the error names it.
 */

import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import type { OnNotice } from '../support/notices.ts';
import { nearest } from '../support/options.ts';

export interface PolicyFiles {
  /** Absolute paths; null where there is none. */
  readonly visionBackbone: string | null;
  readonly actionHead: string | null;
  readonly proprioProjector: string | null;
  /** Of a diffusion policy. */
  readonly noisyActionProjector: string | null;
}

const kinds = ['vision_backbone', 'action_head', 'proprio_projector', 'noisy_action_projector'] as const;
type Kind = (typeof kinds)[number];
const byLetters = new Map<string, Kind>(kinds.map((kind) => [letters(kind), kind]));

/** Files about a file: check sums, notes, settings. The reference's finder would count them. */
const note =
  /\.(json|ya?ml|txt|md|log|csv|py|html?|sha(1|256|512)(sums?)?|md5|sig|asc|lock|metadata|png|jpe?g|svg)$/i;
const unfinished = /\.(part|partial|incomplete|crdownload|download|aria2|tmp|temp|filepart|opdownload)$/i;
/** Files that weights are kept in, also with the suffix of a copy or download. */
const weights = /\.(pt|pth|bin|ckpt|safetensors|pkl|pickle|tar|zip|gz|npz|h5)\b/i;

/** Whether a file of this name is one of a policy's archives, as their finder sees it. */
export function isArchiveName(name: string): boolean {
  return !note.test(name) && isNamed(name);
}

function isNamed(name: string): boolean {
  return !name.startsWith('.') && /checkpoint/.test(name) && kinds.some((kind) => name.includes(kind));
}

/**
 * @throws (rejects) CHECKPOINT_AMBIGUOUS two of a kind; CHECKPOINT_FILE_MISSING none, but a name that was probably meant
 */
export async function findArchives(dir: string, onNotice: OnNotice): Promise<PolicyFiles> {
  const names = (await readdir(dir)).filter((name) => !note.test(name)).sort();
  const meant = new Map(names.map((name) => [name, kindMeant(name)]));
  const find = (kind: Kind): string | null => {
    const found = names.filter((name) => isNamed(name) && name.includes(kind));
    if (found.length > 1) {
      throw new SemanticVlaError(
        'CHECKPOINT_AMBIGUOUS',
        `${dir}: expected one file ${kind}--<step>_checkpoint.pt, found ${found.join(', ')}. Keep the one of the step you want and move the others away.`,
      );
    }
    const [only] = found;
    const near = names.filter((name) => name !== only && meant.get(name) === kind);
    if (only === undefined && near.length === 0) return null;
    if (only === undefined || unfinished.test(only)) throw misnamed(dir, kind, only ?? near.join(', '));
    if (near.length > 0) {
      onNotice({
        code: 'FILE_UNREAD',
        message: `${dir}: ${near.join(', ')}: not read; ${only} is the ${kind.replaceAll('_', ' ')} of this policy. Move away what does not belong to it.`,
      });
    }
    return join(dir, only);
  };
  return {
    visionBackbone: find('vision_backbone'),
    actionHead: find('action_head'),
    proprioProjector: find('proprio_projector'),
    noisyActionProjector: find('noisy_action_projector'),
  };
}

function misnamed(dir: string, kind: Kind, found: string): SemanticVlaError {
  const way = unfinished.test(found)
    ? 'Its download is not finished: finish it, or copy the file again.'
    : `No loader finds that name (the reference looks for "${kind}" and "checkpoint" in it). If it is that file, call it ${kind}--<step>_checkpoint.pt; else move it away.`;
  return new SemanticVlaError(
    'CHECKPOINT_FILE_MISSING',
    `${dir}: expected one file ${kind}--<step>_checkpoint.pt, found ${found}. ${way}`,
  );
}

/** Which kind of archive a file was probably meant to be; null: none. */
function kindMeant(name: string): Kind | null {
  const ending = /\.[^.]+$/.exec(name)?.[0] ?? '';
  const isOther =
    ending !== '' && !weights.test(name) && !unfinished.test(name) && !/^\.(bak|old|orig|\d+)$/.test(ending);
  if (isOther) return null;
  const stem = letters(
    name
      .replace(weights, '.')
      .replace(/\.[^.]*$/, '')
      .replace(/^\./, ''),
  );
  const inside = [...byLetters.keys()].filter((kind) => stem.includes(kind));
  // no other kind's name is part of the noisy action projector's
  const [first] = inside;
  if (first !== undefined) return byLetters.get(first)!;
  const close = nearest(stem, [...byLetters.keys()]);
  return close === null ? null : byLetters.get(close)!;
}

/** The letters of a name that identify it. */
function letters(name: string): string {
  return name
    .toLowerCase()
    .replace(/checkpoints?|chkpt|ckpt|latest|final|steps?/g, '')
    .replace(/[^a-z]/g, '');
}

/** Archives of one training run are saved at one step. */
export function sayMixedSteps(dir: string, files: PolicyFiles, onNotice: OnNotice): void {
  const steps = Object.values(files).flatMap((file: string | null) => {
    const step = file === null ? null : stepOf(basename(file));
    return step === null ? [] : [{ name: basename(file!), step }];
  });
  // the reference names the folder of a step like this
  const folder = /--(\d+)_chkpt$/.exec(basename(dir))?.[1];
  if (folder !== undefined && steps.length > 0)
    steps.push({ name: `the folder ${basename(dir)}`, step: folder });
  if (new Set(steps.map(({ step }) => step)).size < 2) return;
  onNotice({
    code: 'STEPS_MIXED',
    message: `${dir}: expected archives of one training step, found ${steps.map(({ name, step }) => `step ${step} (${name})`).join(', ')}. They were not trained together: copy the files of one step.`,
  });
}

/** `30000` of `action_head--30000_checkpoint.pt`, or `latest`; null: the name says none. */
function stepOf(name: string): string | null {
  return (
    /(\d+|latest)[_-]?(?:checkpoint|chkpt)/.exec(name)?.[1] ?? /checkpoint[_-]?(\d+)/.exec(name)?.[1] ?? null
  );
}
