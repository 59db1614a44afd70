/**
 * Keeps the measured columns of docs/dependencies.md: range, megabytes with all that a package brings, licence. What is said
 * about a package is written by hand. Run it after package.json or package-lock.json changed; a test compares.
 *
 *   node --import tsx scripts/dependencies.ts
 */

import { existsSync, lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

type Names = Readonly<Record<string, string>>;

interface Locked {
  readonly version?: string;
  readonly license?: string;
  readonly dependencies?: Names;
  readonly optionalDependencies?: Names;
  readonly peerDependencies?: Names;
  readonly devDependencies?: Names;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

const root = join(import.meta.dirname, '..');
export const page = join(root, 'docs/dependencies.md');
const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  packages: Readonly<Record<string, Locked>>;
};
const own = packages['']!;

/** Direct dependencies by section of the page, each name once, with its range. */
export function sections(): Readonly<Record<string, Names>> {
  const { dependencies = {}, optionalDependencies = {}, peerDependencies = {}, devDependencies = {} } = own;
  const optional = { ...optionalDependencies, ...peerDependencies };
  const development = Object.entries(devDependencies).filter(([name]) => !(name in optional));
  return { Runtime: dependencies, Optional: optional, Development: Object.fromEntries(development) };
}

/** Where `name` is found from the package at `from`, as Node looks for it; null: not installed. */
function locate(name: string, from: string): string | null {
  for (let folder = from; ; folder = dirname(folder)) {
    const path = join(folder, 'node_modules', name);
    if (path in packages) return existsSync(join(root, path)) ? path : null;
    if (folder === '.' || folder === '') return null;
  }
}

/** Installed packages that these bring, themselves among them. */
function brought(names: readonly string[], from = '', found = new Set<string>()): ReadonlySet<string> {
  for (const name of names) {
    const path = locate(name, from);
    if (path === null || found.has(path)) continue;
    found.add(path);
    const {
      dependencies = {},
      optionalDependencies = {},
      peerDependencies = {},
      peerDependenciesMeta = {},
    } = packages[path]!;
    const peers = Object.keys(peerDependencies).filter((peer) => !peerDependenciesMeta[peer]?.optional);
    brought(Object.keys({ ...dependencies, ...optionalDependencies }).concat(peers), path, found);
  }
  return found;
}

/** Bytes of a package's own files. */
function bytesOf(folder: string): number {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === 'node_modules' ? sum : sum + bytesOf(path);
    return sum + lstatSync(path).size;
  }, 0);
}

const megabytes = (paths: ReadonlySet<string>): string =>
  ([...paths].reduce((sum, path) => sum + bytesOf(join(root, path)), 0) / 1e6).toFixed(1);

/** Range, megabytes and packages that it brings, licence: the columns between the name and what is written by hand. */
function facts(name: string, range: string): string[] {
  const paths = brought([name]);
  const licence = packages[`node_modules/${name}`]?.license ?? 'not installed';
  return [
    range,
    paths.size === 0 ? '' : megabytes(paths),
    paths.size === 0 ? '' : String(paths.size),
    licence,
  ];
}

/** The page with its measured columns as they are now; rows of packages that are gone fall out, new ones have empty words. */
export function refreshed(text: string): string {
  let out = text;
  for (const [section, names] of Object.entries(sections())) {
    out = out.replace(new RegExp(`(## ${section}\n[^|]*)((?:\\|.*\n)+)`), (_, head: string, rows: string) => {
      const [titles, rule, ...old] = rows.trimEnd().split('\n');
      const words = new Map(
        old.map((row) => {
          const cells = row.split('|').slice(1, -1);
          return [cells[0]!.trim(), cells.slice(5).map((cell) => cell.trim())];
        }),
      );
      const lines = Object.entries(names)
        .sort(([a], [b]) => a.localeCompare(b, 'en'))
        .map(([name, range]) => [
          '',
          `\`${name}\``,
          ...facts(name, range),
          ...(words.get(`\`${name}\``) ?? ['', '']),
          '',
        ]);
      return `${head}${[titles, rule, ...lines.map((cells) => cells.join(' | ').trim())].join('\n')}\n`;
    });
  }
  const names = Object.keys(own.dependencies ?? {}).concat(Object.keys(own.optionalDependencies ?? {}));
  const robot = brought(names);
  return out.replace(
    /brings \d+ packages, [\d.]+ MB/,
    `brings ${robot.size} packages, ${megabytes(robot)} MB`,
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  writeFileSync(page, refreshed(readFileSync(page, 'utf8')));
