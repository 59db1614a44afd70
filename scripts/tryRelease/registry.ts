/**
 * A real npm registry on loopback (verdaccio) for as long as something runs: it holds what is published to it, and asks the machine's
 * own registry for the rest.
 */

import * as assert from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../freePort.ts';
import { run } from '../release/run.ts';
import { fetchPackages } from './tools.ts';

const version = '6.8.0';
/** Then it is ended, whatever happens to the process that started it. */
const limitSeconds = 5400;

/**
 * @param folder for its files
 * @param body gets the address, with a slash at the end
 */
export async function withRegistry<T>(
  folder: string,
  body: (registry: string) => Promise<T> | T,
): Promise<T> {
  // node-fetch 2 before 2.7 is one of its dependencies' that does not start under newer Nodes
  const tools = fetchPackages(`verdaccio-${version}`, {
    dependencies: { verdaccio: version },
    ...{ overrides: { 'node-fetch': '2.7.0' } },
  });
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  const uplink = run('npm', ['config', 'get', 'registry'], { cwd: folder }).trim();
  const own = '    access: $all\n    publish: $all\n';
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `storage: ${join(folder, 'storage')}
uplinks:
  up:
    url: ${uplink}
    maxage: 60m
    timeout: 60s
packages:
  '@semanticvla/*':
${own}  semanticvla:
${own}  '**':
    access: $all
    proxy: up
max_body_size: 200mb
log: { type: stdout, format: pretty, level: warn }
`,
  );
  const log = join(folder, 'registry.log');
  const out = openSync(log, 'a');
  const program = join(tools, 'verdaccio/bin/verdaccio');
  const child = spawn(
    'timeout',
    [String(limitSeconds), process.execPath, program, '--config', config, '--listen', `127.0.0.1:${port}`],
    { stdio: ['ignore', out, out] },
  );
  const ended = once(child, 'exit');
  const registry = `http://127.0.0.1:${port}/`;
  try {
    for (let tries = 0; ; tries++) {
      const answers = await fetch(`${registry}-/ping`).then(
        ({ ok }) => ok,
        () => false,
      );
      if (answers) break;
      assert.ok(
        tries < 300 && child.exitCode === null,
        `the registry does not start:\n${readFileSync(log, 'utf8')}`,
      );
      await sleep(200);
    }
    return await body(registry);
  } finally {
    child.kill();
    await ended;
  }
}

/** Tarballs into it, in this order. */
export function publish(tarballs: readonly string[], registry: string, folder: string): void {
  // npm wants a token where none is asked for
  const npmrc = join(folder, 'publisher.npmrc');
  writeFileSync(npmrc, `${registry.replace(/^http:/, '')}:_authToken=anyone\n`);
  for (const tarball of tarballs) {
    const args = [
      'publish',
      tarball,
      '--registry',
      registry,
      '--userconfig',
      npmrc,
      '--access',
      'public',
      '--ignore-scripts',
    ];
    run('npm', args, { cwd: folder });
  }
}
