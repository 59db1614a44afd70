/**
 * How a server describes its policy: in openpi's first frame and in `GET /metadata`. Clients compare it after each reconnect,
 * so equal policies must give equal bytes, and nothing in it may change while the server runs.
 */

import { createHash } from 'node:crypto';
import { expected } from '../support/options.ts';
import type { Policy } from '../types.ts';
import { encodeMsgpackNumpy } from './msgpackNumpy.ts';
import type { WireMap, WireValue } from './ndarray.ts';

/** Version of this description; clients refuse other versions. */
export const metadataVersion = 1;

export type ExtraMetadata = Readonly<Record<string, string | number | boolean>>;

/** @throws OPTION_INVALID if `extra` contains anything but plain values, or one of the server's own keys */
export function describePolicy(policy: Policy, unnormKey: string | undefined, extra: ExtraMetadata): WireMap {
  const { platform, dimensions, variant, imageSize, patchGrid } = policy;
  const own: [string, WireValue][] = [
    ['server', 'semanticvla'],
    ['metadata_version', metadataVersion],
    ['platform', new Map<string, WireValue>(Object.entries(platform))],
    ['dimensions', dimensions],
    ['variant', variant],
    ['image_size', imageSize],
    ['patch_grid', patchGrid],
    ['unnorm_key', unnormKey ?? null],
  ];
  const map = new Map(own);
  for (const [key, value] of Object.entries(extra)) {
    if (!['string', 'number', 'boolean'].includes(typeof value)) {
      throw expected('OPTION_INVALID', 'a text, a number, true or false', `metadata.${key}`, value);
    }
    if (map.has(key))
      throw expected('OPTION_INVALID', `a key other than ${[...map.keys()].join(', ')}`, 'metadata', key);
    map.set(key, value);
  }
  return map;
}

/** 16 hexadecimal digits, sent in the header `x-semanticvla-policy` of every answer of `POST /act`. */
export function fingerprint(metadata: WireMap): string {
  return createHash('sha256').update(encodeMsgpackNumpy(metadata)).digest('hex').slice(0, 16);
}

/** The same as JSON. */
export function metadataJson(metadata: WireMap): string {
  return JSON.stringify(metadata, (_, value: unknown) =>
    value instanceof Map ? Object.fromEntries(value) : value,
  );
}
