/** The picture library, loaded when a file is decoded or drawn: a policy fed with raw frames works without it. */

import type sharp from 'sharp';
import { SemanticVlaError } from './errors.ts';

/** @throws (rejects) PACKAGE_UNAVAILABLE */
export async function loadSharp(): Promise<typeof sharp> {
  try {
    return (await import('sharp')).default;
  } catch (cause) {
    throw new SemanticVlaError(
      'PACKAGE_UNAVAILABLE',
      `The package sharp, which reads and draws pictures: expected to load, found: ${(cause as Error).message}. ` +
        'Install it again for this machine with `npm i sharp`, or pass frames as raw pixels; `semanticvla doctor` shows what is missing.',
      { cause },
    );
  }
}
