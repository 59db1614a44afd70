/** What decides whether a plan may be used: everything that went into building it, and where it runs. */

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

/** Eight fields; a difference in one of them makes another plan. All are text that can be shown in a message. */
export interface EngineIdentity {
  /** SHA-256 of the ONNX model as it was given to the builder. */
  readonly graph: string;
  /** SHA-256 of the module that holds the plugins and kernels. */
  readonly plugins: string;
  /** `trt10`, `trt11`, `rtx1` */
  readonly flavour: string;
  /** In full: `10.3.0.26`. */
  readonly version: string;
  /** `sm_89,sm_120`, or for plans that are tuned on a device its capability and name. */
  readonly target: string;
  readonly precision: string;
  /** `bound`, or `baked` and a digest of which files they came from. */
  readonly weights: string;
  /** Builder options as canonical JSON. */
  readonly options: string;
}

export const identityFields = [
  'graph',
  'plugins',
  'flavour',
  'version',
  'target',
  'precision',
  'weights',
  'options',
] as const satisfies readonly (keyof EngineIdentity)[];

/** Name of the plan in the cache, hexadecimal. */
export function engineKey(engine: string, identity: EngineIdentity): string {
  return sha256(Buffer.from(canonicalJson({ engine, ...pickFields(identity) }), 'utf8')).slice(0, 40);
}

function pickFields(identity: EngineIdentity): Record<string, string> {
  return Object.fromEntries(identityFields.map((field) => [field, identity[field]]));
}

/** The first field in which two identities differ; null when they are equal. */
export function differingField(a: EngineIdentity, b: EngineIdentity): keyof EngineIdentity | null {
  return identityFields.find((field) => a[field] !== b[field]) ?? null;
}

export function sha256(bytes: Uint8Array | Iterable<Uint8Array>): string {
  const hash = createHash('sha256');
  for (const part of bytes instanceof Uint8Array ? [bytes] : bytes) hash.update(part);
  return hash.digest('hex');
}

export async function sha256File(path: string): Promise<string> {
  return sha256(await readFile(path));
}

/** JSON with sorted keys and no spaces: equal values give equal text. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join(',')}}`;
  }
  return JSON.stringify(value);
}
