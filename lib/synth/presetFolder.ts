/** Random weights of a preset, made once in the cache folder, for measuring without a checkpoint. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Progress } from '../checkpoint/checkpoint.ts';
import { cacheFolder } from '../checkpoint/loraMerge.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { present } from '../support/options.ts';
import { type SynthPreset, synthPresets } from './presets.ts';
import { synthesizeCheckpoint } from './synthesize.ts';

export interface PresetFolderOptions {
  readonly cacheDir?: string;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** Part of the folder's name; raise it when `synth` writes something else. */
const formatVersion = 1;

/**
 * @returns the complete checkpoint folder; it appears in one step once everything is written
 * @throws (rejects) OPTION_INVALID, OUTPUT_NO_SPACE before anything is written, OUTPUT_UNWRITABLE, the signal's reason
 */
export async function presetFolder(preset: SynthPreset, options: PresetFolderOptions): Promise<string> {
  if (!Object.hasOwn(synthPresets, preset)) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Preset: expected one of ${Object.keys(synthPresets).join(', ')}, found ${String(preset)}.`,
    );
  }
  const { cacheDir, onProgress, signal } = options;
  const folder = cacheFolder(present({ cacheDir }));
  const dir = join(folder, 'presets', `${preset}-v${formatVersion}`);
  if (isComplete(dir)) return dir;
  try {
    await synthesizeCheckpoint(preset, dir, present({ onProgress, signal }));
  } catch (error) {
    // another process has made it in the meantime, so ours cannot be renamed to its place
    if (isComplete(dir) && !signal?.aborted) return dir;
    throw error;
  }
  return dir;
}

/** `synth` renames a finished folder into place, so any folder that exists is complete. */
function isComplete(dir: string): boolean {
  return existsSync(join(dir, 'synth.json'));
}
