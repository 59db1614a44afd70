/**
 * Packages that a robot does without: optional peers of this one, used by what decodes image files and what draws. Loaded
 * when first needed; where one is missing, the error says in a sentence how to get it.
 */

import { SemanticVlaError } from './errors.ts';
import { installCommand, reinstallCommand } from './packageCommand.ts';

/** Packages that are needed together. */
export interface OptionalPackages {
  readonly names: readonly string[];
  /** What to do without them, as the end of a sentence. */
  readonly instead?: string;
}

/**
 * Call this before long work whose result could not be drawn. Only looks; loads nothing.
 * @param what needs the packages, as the error begins
 * @throws PACKAGE_UNAVAILABLE if one is not installed
 */
export function checkPackages(what: string, { names, instead }: OptionalPackages): void {
  const missing = names.filter((name) => !isInstalled(name));
  if (missing.length === 0) return;
  throw new SemanticVlaError(
    'PACKAGE_UNAVAILABLE',
    `${what}: expected the optional ${packages(missing)}, found ${missing.length === 1 ? 'it' : 'them'} not installed. ` +
      `Run \`${installCommand(missing)}\`${instead === undefined ? '' : `, or ${instead}`}.`,
  );
}

/**
 * @param load the `import()` of the packages
 * @throws (rejects) PACKAGE_UNAVAILABLE if one is not installed, or belongs to another machine
 */
export async function loadPackages<T>(
  what: string,
  optional: OptionalPackages,
  load: () => Promise<T>,
): Promise<T> {
  checkPackages(what, optional);
  try {
    return await load();
  } catch (cause) {
    const [reason] = (cause as Error).message.split('\n', 1);
    throw new SemanticVlaError(
      'PACKAGE_UNAVAILABLE',
      `${what}: expected the optional ${packages(optional.names)} to load, found: ${reason}. Install anew with \`${reinstallCommand()}\`.`,
      { cause },
    );
  }
}

const packages = (names: readonly string[]): string =>
  `${names.length === 1 ? 'package' : 'packages'} ${names.join(' and ')}`;

/** Whether it is installed, which does not mean that it loads. */
export function isInstalled(name: string): boolean {
  try {
    import.meta.resolve(name);
    return true;
  } catch {
    return false;
  }
}
