/** What a remote policy is: from the server's metadata, or from the caller where a server does not say. */

import { SemanticVlaError } from '../errors.ts';
import type { WireMap, WireValue } from '../serve/ndarray.ts';
import { metadataVersion } from '../serve/serverMetadata.ts';
import type { Platform } from '../types.ts';
import { remoteFailed } from './transport.ts';

export interface RemoteFacts {
  readonly platform: Platform;
  readonly dimensions: readonly string[];
  readonly variant: string;
  readonly imageSize: number;
  readonly patchGrid: number;
  /** The dataset in whose units actions come; null when the server does not say. */
  readonly unnormKey: string | null;
}

/** What the caller knows of a server that does not describe its policy, such as the reference's or openpi's own. */
export type GivenFacts = Pick<RemoteFacts, 'platform' | 'dimensions'>;

/**
 * @throws OPTION_REQUIRED neither the server nor the caller says; OPTION_INVALID both do; REMOTE_FAILED malformed metadata
 */
export function remoteFacts(url: URL, metadata: WireMap | null, given: GivenFacts | undefined): RemoteFacts {
  const describes = metadata?.get('server') === 'semanticvla';
  if (!describes && given === undefined) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `Server ${url.origin}: expected metadata that describes its policy, found none. Pass policy: { platform, dimensions }.`,
    );
  }
  if (!describes) {
    return { ...given!, variant: 'remote', imageSize: 0, patchGrid: 0, unnormKey: null };
  }
  if (given !== undefined) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option policy: expected none, since the server ${url.origin} describes its policy itself. Leave it out.`,
    );
  }
  return read(url, metadata);
}

function read(url: URL, metadata: WireMap): RemoteFacts {
  const version = metadata.get('metadata_version');
  if (version !== metadataVersion)
    throw remoteFailed(url, `metadata version ${metadataVersion}`, `${String(version)}`);
  const platform = metadata.get('platform');
  const dimensions = metadata.get('dimensions');
  const variant = metadata.get('variant');
  const imageSize = metadata.get('image_size');
  const patchGrid = metadata.get('patch_grid');
  const unnormKey = metadata.get('unnorm_key') ?? null;
  const valid =
    platform instanceof Map &&
    isTexts(platform.get('cameras')) &&
    typeof platform.get('chunk') === 'number' &&
    isTexts(dimensions) &&
    typeof variant === 'string' &&
    typeof imageSize === 'number' &&
    typeof patchGrid === 'number' &&
    (unnormKey === null || typeof unnormKey === 'string');
  if (!valid) throw remoteFailed(url, 'metadata of a policy', 'something else');
  return {
    // Field by field as the server wrote it; what a scheduler needs of it was checked.
    platform: Object.fromEntries(platform) as unknown as Platform,
    dimensions,
    variant,
    imageSize,
    patchGrid,
    unnormKey,
  };
}

function isTexts(value: WireValue | undefined): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string');
}
