/**
 * The JSON beside a plan: what it is, its digest, and which devices have checked it, under a MAC of this machine's key. A
 * plan is native code for the GPU: only one that this machine wrote itself is ever given to TensorRT.
 */

import { createHmac, timingSafeEqual } from 'node:crypto';
import { canonicalJson, type EngineIdentity, identityFields } from './cacheKey.ts';

/** One device that has run the recorded observation with this plan, with a correct result (trust.ts). */
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

/** Text of a file: the value and its MAC. */
export function seal(value: object, machineKey: Uint8Array): string {
  return `${JSON.stringify({ ...value, mac: macOf(value, machineKey) }, null, 2)}\n`;
}

export type Unsealed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly expected: string; readonly found: string };

/** Never throws, whatever the text: it comes from a file that anybody may have written. */
export function unseal(text: string, machineKey: Uint8Array): Unsealed<Record<string, unknown>> {
  const refuse = (expected: string, found: string) => ({ ok: false, expected, found }) as const;
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
  return { ok: true, value: rest };
}

export function encodeSidecar(sidecar: Sidecar, machineKey: Uint8Array): string {
  return seal(sidecar, machineKey);
}

/** Never throws. */
export function decodeSidecar(text: string, machineKey: Uint8Array): Unsealed<Sidecar> {
  const unsealed = unseal(text, machineKey);
  if (!unsealed.ok) return unsealed;
  // only this program can have written it, as the MAC shows, but perhaps another version of it
  const { value } = unsealed;
  if (value.format !== 1) return { ok: false, expected: 'format 1', found: String(value.format) };
  if (!isSidecar(value)) return { ok: false, expected: 'the fields of format 1', found: 'others' };
  return { ok: true, value };
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
