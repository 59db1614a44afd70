/** Which room of lib/ imports which, read from the sources: for the picture in ARCHITECTURE.md and for test/rooms.test.ts. */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';

export interface RoomImport {
  /** Path below lib/. */
  readonly file: string;
  /** Path below lib/ of what it imports. */
  readonly target: string;
  /** Folder of `file` below lib/; the file itself where it lies in lib/. */
  readonly from: string;
  readonly to: string;
  /** Every name is a type, so the import is gone at run time. */
  readonly isTypes: boolean;
  /** Loaded when it is needed: `import('...')`. */
  readonly isLate: boolean;
}

/** Every relative import and export of the TypeScript files below `lib`, of types too. */
export function readRoomImports(lib: string): RoomImport[] {
  const found: RoomImport[] = [];
  const roomOf = (path: string): string => relative(lib, path).split(sep)[0]!;
  for (const file of readdirSync(lib, { recursive: true, encoding: 'utf8' }).sort()) {
    if (!file.endsWith('.ts')) continue;
    const path = join(lib, file);
    const source = readFileSync(path, 'utf8');
    const add = (specifier: string, isTypes: boolean, isLate = false): void => {
      const target = resolve(dirname(path), specifier);
      found.push({
        ...{ file, target: relative(lib, target), from: roomOf(path), to: roomOf(target) },
        ...{ isTypes, isLate },
      });
    };
    for (const [, names, target] of source.matchAll(/^(?:import|export) ([^;]*?) from '(\.[^']+)';/gms)) {
      add(target!, /^type /.test(names!) || /^\{\s*(?:type [^,}]+,?\s*)+\}$/.test(names!));
    }
    for (const [, target] of source.matchAll(/^import '(\.[^']+)';/gm)) add(target!, false);
    for (const [, target] of source.matchAll(/import\('(\.[^']+)'\)/g)) add(target!, false, true);
  }
  return found;
}
