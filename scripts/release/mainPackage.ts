/** The manifest of `semanticvla` as it is published: what a clone compiles is an optional dependency, and nothing runs at installation. */

import { prebuiltName } from '../../lib/addon/nativeFiles.ts';
import type { Processor } from './compile.ts';

interface Manifest {
  readonly version: string;
  readonly scripts: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/**
 * The prebuilt packages are named here and not in the repository, whose lock file would name what no registry has before the
 * release, and `npm ci` of a clone fetch what it compiles itself.
 */
export function publishedManifest(manifest: Manifest, processors: readonly Processor[]): Manifest {
  const { install: _, prepare: __, prestart: ___, ...scripts } = manifest.scripts;
  const prebuilt = processors.map((processor) => [prebuiltName(processor), manifest.version]);
  return {
    ...manifest,
    scripts,
    optionalDependencies: { ...Object.fromEntries(prebuilt), ...manifest.optionalDependencies },
    // its workers and models are files
    preferUnplugged: true,
  };
}
