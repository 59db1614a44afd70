/**
 * Where the hub is, with what token it is asked, and where its files are kept: from the same variables as Python's
 * huggingface_hub.
 */

import { homedir } from 'node:os';
import { join } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { readText } from '../support/fileAccess.ts';

export interface HubSettings {
  /** `HF_ENDPOINT`, without a trailing slash. */
  readonly endpoint: string;
  /** `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`. */
  readonly cache: string;
  /** `HF_TOKEN`, else the token saved by `hf auth login`; null if there is none. */
  readonly token: string | null;
  /** `HF_HUB_OFFLINE`: only the cache is used, without any request. */
  readonly isOffline: boolean;
}

const yes = /^(1|on|yes|true)$/i;

/** @throws (rejects) OPTION_INVALID if `HF_ENDPOINT` is not an address */
export async function hubSettings(env: NodeJS.ProcessEnv = process.env): Promise<HubSettings> {
  const home = env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
  const cache = env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub');
  const endpoint = (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  const parsed = URL.canParse(endpoint) ? new URL(endpoint) : null;
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `HF_ENDPOINT: expected an address like https://huggingface.co, found ${JSON.stringify(endpoint.slice(0, 200))}.`,
    );
  }
  const tokenFile = env.HF_TOKEN_PATH || join(home, 'token');
  const isHidden = yes.test(env.HF_HUB_DISABLE_IMPLICIT_TOKEN ?? '');
  const saved = isHidden
    ? ''
    : await readText(tokenFile, { missing: 'OPTION_INVALID', cap: 4096 }).catch(() => '');
  const token = (env.HF_TOKEN ?? '').trim() || saved.trim();
  return {
    endpoint,
    cache,
    token: token === '' ? null : token,
    isOffline: yes.test(env.HF_HUB_OFFLINE ?? ''),
  };
}
