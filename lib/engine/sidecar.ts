/**
 * The JSON beside a plan: what it is, its digest, and which devices have checked it, under a MAC of this machine's key. A
 * plan is native code for the GPU: only one that this machine wrote itself is ever given to TensorRT.
 */

import { createHmac, timingSafeEqual } from 'node:crypto';
import { canonicalJson, type EngineIdentity, identityFields } from './cacheKey.ts';

/** One device has run the recorded observation with this plan, and its answer was right (trust.ts). */
export interface EngineCheck {
  /** Name and UUID. */
  readonly device: string;
  readonly driver: string;
  /** Largest difference of a normalized action from the CPU's, and what was allowed. */
  readonly difference: number;
  readonly allowed: number;
  /** ISO 8601. */
  readonly at: string;
}

export interface Sidecar {
  readonly format: 1;
  /** `policy` or `instruction`. */
  readonly engine: string;
  readonly key: string;
  readonly identity: EngineIdentity;
  readonly plan: { readonly file: string; readonly bytes: number; readonly sha256: string };
  readonly built: { readonly at: string; readonly seconds: number };
  readonly checks: readonly EngineCheck[];
}

/** Text of the file: the sidecar and its MAC. */
export function encodeSidecar(sidecar: Sidecar, machineKey: Uint8Array): string {
  return `${JSON.stringify({ ...sidecar, mac: macOf(sidecar, machineKey) }, null, 2)}\n`;
}

export type DecodedSidecar =
  | { readonly ok: true; readonly sidecar: Sidecar }
  | { readonly ok: false; readonly expected: string; readonly found: string };

/** Never throws, whatever the text: it comes from a file that anybody may have written. */
export function decodeSidecar(text: string, machineKey: Uint8Array): DecodedSidecar {
  const refuse = (expected: string, found: string): DecodedSidecar => ({ ok: false, expected, found });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return refuse('JSON', (error as Error).message);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refuse('a JSON object', typeof value);
  const { mac, ...rest } = value as Record<string, unknown>;
  if (typeof mac !== 'string' || !/^[0-9a-f]{64}$/.test(mac)) return refuse('a MAC', 'none');
  const expected = macOf(rest, machineKey);
  if (!timingSafeEqual(Buffer.from(mac, 'hex'), Buffer.from(expected, 'hex'))) {
    return refuse(`MAC ${expected.slice(0, 16)}... of this machine's key`, `${mac.slice(0, 16)}...`);
  }
  // behind the MAC stands only what this program wrote, but perhaps another version of it
  if (rest.format !== 1) return refuse('format 1', String(rest.format));
  return isSidecar(rest) ? { ok: true, sidecar: rest } : refuse('the fields of format 1', 'others');
}

function isSidecar(value: object): value is Sidecar {
  const { engine, key, identity, plan, built, checks } = value as Partial<Sidecar>;
  return (
    typeof engine === 'string' &&
    typeof key === 'string' &&
    typeof identity === 'object' &&
    identity !== null &&
    identityFields.every((field) => typeof identity[field] === 'string') &&
    typeof plan?.file === 'string' &&
    typeof plan.bytes === 'number' &&
    typeof plan.sha256 === 'string' &&
    typeof built?.at === 'string' &&
    Array.isArray(checks)
  );
}

function macOf(sidecar: object, machineKey: Uint8Array): string {
  return createHmac('sha256', machineKey).update(canonicalJson(sidecar), 'utf8').digest('hex');
}
