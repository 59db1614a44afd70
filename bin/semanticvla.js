#!/usr/bin/env node
// The command line. An old dialect and few imports, so that an old Node reaches the sentence about its version.

// biome-ignore-all lint/style/useNodejsImportProtocol: Node versions that are told to upgrade do not know `node:`.
// biome-ignore-all lint/complexity/useOptionalChain: the same.
import { existsSync } from 'fs';
import { fileURLToPath } from 'url';

const OLDEST = [20, 9];
const found = process.versions.node.split('.').map(Number);
const main = new URL('../dist/cli/main.js', import.meta.url);

if (found[0] < OLDEST[0] || (found[0] === OLDEST[0] && found[1] < OLDEST[1])) {
  console.error(
    'semanticvla needs Node >= ' +
      OLDEST.join('.') +
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
