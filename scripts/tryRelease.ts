/**
 * Tries a release as people use it: published to a real registry on loopback, installed into a fresh project with an empty home, with
 * each package manager under each Node, without a compiler or another network. Then `doctor` has to be content, the README's ten lines
 * have to print their chunk, and, after the commands that `doctor` prints for what is optional, `demo` has to draw its page.
 *
 *   node --import tsx scripts/tryRelease.ts                 all of scripts/tryRelease/managers.ts, of release/ (scripts/release.ts)
 *   node --import tsx scripts/tryRelease.ts npm12 yarn1@20  those whose name begins with a word; arm64: in emulation (scripts/arm64.sh)
 *   ... --release FOLDER                                    another release
 *   ... --repair                                            also delete what is prebuilt and follow doctor's advice, and compile by hand
 *
 * Needs the npm registry. Node, the managers and the registry come from it, into the cache folder. Exit codes: 0 all, 1 one failed,
 * 2 usage.
 */

import { mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { run } from './release/run.ts';
import { pairs } from './tryRelease/managers.ts';
import { publish, withRegistry } from './tryRelease/registry.ts';
import { tryOne } from './tryRelease/tryOne.ts';

const root = join(import.meta.dirname, '..');

/** The prebuilt packages first: whoever finds the main one finds them too. */
function tarballsOf(release: string): string[] {
  run('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: release });
  const names = readdirSync(release).filter((name) => name.endsWith('.tgz'));
  const isPrebuilt = (name: string) => name.startsWith('semanticvla-linux-');
  return [...names.filter(isPrebuilt), ...names.filter((name) => !isPrebuilt(name))].map((name) =>
    join(release, name),
  );
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      release: { type: 'string', default: join(root, 'release') },
      repair: { type: 'boolean', default: false },
    },
  });
  const chosen = pairs.filter(
    ({ name }) => positionals.length === 0 || positionals.some((word) => name.startsWith(word)),
  );
  if (chosen.length === 0) {
    console.error(`No pair has a name that begins with ${positionals.join(' or ')}, such as npm12@22.`);
    return 2;
  }
  const scratch = mkdtempSync(join(realpathSync(tmpdir()), 'semanticvla-registry-'));
  let failed = 0;
  try {
    await withRegistry(scratch, (registry) => {
      publish(tarballsOf(resolve(values.release)), registry, scratch);
      for (const pair of chosen) {
        try {
          const { installSeconds, seconds, megabytes, packages } = tryOne(pair, registry, {
            andRepair: values.repair,
          });
          const figures = `${installSeconds.toFixed(0).padStart(4)} s to install  ${megabytes.toFixed(1).padStart(6)} MB  ${String(packages).padStart(3)} packages`;
          console.log(`ok    ${pair.name.padEnd(15)} ${figures}  ${seconds.toFixed(0).padStart(4)} s in all`);
        } catch (error) {
          failed++;
          console.log(`FAIL  ${pair.name}\n${(error as Error).message.replace(/^/gm, '      ')}`);
        }
      }
    });
  } finally {
    rmSync(scratch, { recursive: true });
  }
  console.log(`${chosen.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main();
