/** The facts of a remote policy: from the server's metadata or, where the server does not give them, from the caller. */

import type { WireMap } from '../serve/ndarray.ts';
import { metadataVersion } from '../serve/serverMetadata.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { checkOptions, expected } from '../support/options.ts';
import { type PolicyFacts, policyFacts } from '../support/policyFacts.ts';
import { remoteFailed } from './transport.ts';

export interface RemoteFacts extends PolicyFacts {
  /** The dataset in whose units the actions are; null if the server does not say. */
  readonly unnormKey: string | null;
}

/** What the caller knows about a server that does not describe its policy, such as the reference's or openpi's own. */
export type GivenFacts = Pick<RemoteFacts, 'platform' | 'dimensions'>;

/**
 * @throws OPTION_REQUIRED if neither the server nor the caller says; OPTION_INVALID if both do; REMOTE_FAILED for malformed
 *   metadata
 */
export function remoteFacts(
  server: string,
  metadata: WireMap | null,
  given: GivenFacts | undefined,
): RemoteFacts {
  const describes = metadata?.get('server') === 'semanticvla';
  if (!describes && given === undefined) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `Server ${server}: expected metadata that describes its policy, found none. Pass policy: { platform, dimensions }.`,
    );
  }
  if (!describes) {
    checkOptions(given!, ['platform', 'dimensions'], 'policy');
    const facts = { ...given, variant: 'remote', imageSize: 0, patchGrid: 0 };
    return { ...policyFacts(facts, 'option policy'), unnormKey: null };
  }
  if (given !== undefined) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option policy: expected none, since the server ${server} describes its policy itself. Leave it out.`,
    );
  }
  return read(server, metadata);
}

function read(server: string, metadata: WireMap): RemoteFacts {
  const version = metadata.get('metadata_version');
  if (version !== metadataVersion)
    throw remoteFailed(server, `metadata version ${metadataVersion}`, `${String(version)}`);
  const platform = metadata.get('platform');
  const unnormKey = metadata.get('unnorm_key') ?? null;
  try {
    if (unnormKey !== null && typeof unnormKey !== 'string')
      throw expected('OPTION_INVALID', 'a name or null', 'unnorm_key', unnormKey);
    const facts = {
      // passed on as the server wrote it; only the fields that a scheduler needs are checked
      platform: platform instanceof Map ? Object.fromEntries(platform) : platform,
      dimensions: metadata.get('dimensions'),
      variant: metadata.get('variant'),
      imageSize: metadata.get('image_size'),
      patchGrid: metadata.get('patch_grid'),
    };
    return { ...policyFacts(facts, `server ${server}`), unnormKey };
  } catch (error) {
    throw remoteFailed(server, 'metadata of a policy', `something else: ${(error as Error).message}`);
  }
}
