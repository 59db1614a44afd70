#!/usr/bin/env node
// The command line. An old dialect and few imports, so that an old Node reaches the sentence about its version.

// biome-ignore-all lint/style/useNodejsImportProtocol: Node versions that are told to upgrade do not know `node:`.
// biome-ignore-all lint/complexity/useOptionalChain: the same.
import { existsSync } from 'fs';
import { fileURLToPath } from 'url';

// As in package.json and scripts/install.mjs. The first with zlib.crc32.
const NEEDED = '^20.15 || >=22.2';
const [major, minor] = process.versions.node.split('.').map(Number);
const main = new URL('../dist/cli/main.js', import.meta.url);

if (!(major > 22 || (major === 22 && minor >= 2) || (major === 20 && minor >= 15))) {
  console.error(
    'semanticvla needs Node ' +
      NEEDED +
      ' and found ' +
      process.versions.node +
      '; install a newer one, for example with: npm install -g n && n lts',
  );
  process.exitCode = 2;
} else if (!existsSync(fileURLToPath(main))) {
  console.error(
    'semanticvla is not built: expected ' +
      fileURLToPath(main) +
      ', found none. Build it in the package folder with: npm ci && npm run build',
  );
  process.exitCode = 2;
} else {
  import(main.href)
    .then((module) => module.main(process.argv.slice(2)))
    .then((code) => {
      process.exitCode = code;
    });
}
