/** Why there is no addon that loads here, and what to do about it, in a sentence each. */

import { SemanticVlaError } from '../support/errors.ts';
import { buildAddonCommand, isDependency, reinstallCommand } from '../support/packageCommand.ts';
import { findPrebuilt, type Prebuilt, prebuiltName, prebuiltProcessors } from './nativeFiles.ts';

/** The machine and what is installed on it. */
export interface Surroundings {
  readonly system: string;
  readonly processor: string;
  /** Version of glibc; null: another C library (musl). */
  readonly glibc: string | null;
  readonly prebuilt: Prebuilt | null;
  readonly isClone: boolean;
}

/**
 * @param file the addon that did not load; null: none was found
 * @param cause the loader's error
 */
export function noAddon(
  file: string | null,
  cause: unknown,
  here: Surroundings = surroundings(),
): SemanticVlaError {
  const words = unsupported(here) ?? (file === null ? notFound(here) : notLoaded(file, cause, here));
  return new SemanticVlaError('ADDON_NOT_BUILT', `The native addon: ${words}`, { cause });
}

const elsewhere = 'and use it from here with connectAct or connectOpenpi';

/** What neither installing nor compiling cures. */
function unsupported({ system, processor, glibc }: Surroundings): string | null {
  if (system !== 'linux') {
    return (
      `expected Linux, found ${system}. Run the policy on a Linux machine (semanticvla serve) ${elsewhere}; ` +
      'schedulers, report and roofline work here too.'
    );
  }
  if (!prebuiltProcessors.some((name) => name === processor)) {
    return `expected Linux on x64 or arm64, for which ONNX Runtime's library is built too, found ${processor}. Run the policy on such a machine (semanticvla serve) ${elsewhere}.`;
  }
  return glibc !== null
    ? null
    : `expected Linux with glibc (Debian, Ubuntu, JetPack), for which ONNX Runtime's library is built too, found another C library (musl: Alpine?). Run the policy in an image with glibc, such as node:22-bookworm-slim (semanticvla serve), ${elsewhere}.`;
}

/** The command that brings an addon that loads; null: none does on this machine. */
export function addonCommand(here: Surroundings = surroundings()): string | null {
  if (unsupported(here) !== null) return null;
  // what is installed and does not load is not cured by installing it again
  return here.isClone || here.prebuilt !== null ? buildAddonCommand() : reinstallCommand();
}

function notFound({ isClone, prebuilt, processor }: Surroundings): string {
  if (isClone)
    return `expected build/Release/semanticvla.node, found none. Build it with: ${buildAddonCommand()}`;
  return prebuilt === null
    ? `expected the package ${prebuiltName(processor)}, found none (installed without optional dependencies, or on another kind of machine?). Install anew: ${reinstallCommand()}; or compile the addon: ${buildAddonCommand()}`
    : `expected semanticvla.node in ${prebuilt.folder}, found none. Install anew: ${reinstallCommand()}`;
}

function notLoaded(file: string, cause: unknown, { prebuilt, glibc }: Surroundings): string {
  const reason = cause instanceof Error ? cause.message.split('\n', 1)[0] : String(cause);
  if (prebuilt === null || !file.startsWith(prebuilt.folder))
    return `expected ${file} to load, found: ${reason}. Build it again for this Node and machine with: ${buildAddonCommand()}`;
  const { facts } = prebuilt;
  return `expected ${file} to load, which needs glibc ${facts.glibc} and GLIBCXX_${facts.glibcxx} or newer (Debian 12, Ubuntu 22.04, JetPack 6), found glibc ${glibc}: ${reason}. Compile it on this machine: ${buildAddonCommand()}`;
}

function surroundings(): Surroundings {
  return {
    system: process.platform,
    processor: process.arch,
    glibc: process.platform === 'linux' ? glibcVersion() : null,
    prebuilt: findPrebuilt(),
    isClone: !isDependency(),
  };
}

function glibcVersion(): string | null {
  // without looking at the network, which takes seconds where a name server does not answer; Node 20 has no such switch
  const report = process.report as typeof process.report & { excludeNetwork?: boolean };
  report.excludeNetwork = true;
  const { header } = report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime ?? null;
}
