/**
 * What works without anything native, as on macOS and Windows: the process says that it is one of them, and refuses to open any
 * compiled file. Paths and processes of those systems are not played.
 */

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import pino from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { servePolicy } from '../../lib/serve/servePolicy.ts';
import { madeUpReport, threeSubjects } from '../helpers/benchReport.ts';
import { requireBuild, root } from '../helpers/cli.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { testPolicy } from '../schedule/testPolicy.ts';

const test = suite('other systems');
const folder = mkdtempSync(join(scratchFolder(), 'elsewhere-'));
const systems = ['darwin', 'win32'] as const;

/** A module that makes a process look like one of `system`, and every native file a failure that names it. */
function preload(system: string): string {
  const file = join(folder, `${system}.mjs`);
  writeFileSync(
    file,
    `Object.defineProperty(process, 'platform', { value: '${system}' });
process.dlopen = (_, file) => { throw new Error('opened ' + file); };`,
  );
  return pathToFileURL(file).href;
}

function run(
  system: string,
  args: readonly string[],
): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', preload(system), ...args], {
    encoding: 'utf8',
    cwd: folder,
    timeout: 60_000,
  });
  return { code: status, stdout, stderr };
}

const cli = join(root, 'bin/semanticvla.js');

test.before(requireBuild);

test('the command line: help, roofline of an architecture, a report', () => {
  const report = join(folder, 'report.json');
  writeFileSync(report, JSON.stringify(madeUpReport(threeSubjects)));
  for (const system of systems) {
    assert.match(run(system, [cli, '--help']).stdout, /roofline/);
    const roofline = run(system, [cli, 'roofline', '--preset', 'libero', '--hardware', 'thor', '--json']);
    assert.is(roofline.code, 0, roofline.stderr);
    assert.ok(JSON.parse(roofline.stdout));
    const page = run(system, [cli, 'report', report, '--out', join(folder, `${system}.html`)]);
    assert.is(page.code, 0, page.stderr);
  }
});

test('what needs the addon says where it runs', () => {
  for (const system of systems) {
    const { code, stderr } = run(system, [cli, 'demo']);
    assert.is(code, 2);
    assert.match(
      stderr,
      new RegExp(`ADDON_NOT_BUILT: .*expected Linux, found ${system}.*semanticvla serve.*connectAct`),
    );
  }
});

test('a client, and a scheduled one', async () => {
  const policy = testPolicy(['x', 'y'], async (_, { instruction }) => ({
    actions: Float64Array.from({ length: 16 }, (_, i) => i / 16),
    normalized: new Float32Array(16),
    shape: [8, 2],
    dimensions: ['x', 'y'],
    keptPatches: {},
    similarity: {},
    timings: { total: 1 },
    instruction,
    unnormKey: 'k',
  }));
  const server = await servePolicy(policy, {
    act: { port: 0 },
    openpi: { port: 0 },
    logger: pino({ level: 'silent' }),
  });
  try {
    const program = join(folder, 'client.mjs');
    writeFileSync(
      program,
      `import { asynchronous, connectAct, connectOpenpi } from '${pathToFileURL(join(root, 'dist/index.js')).href}';
for (const [connect, url] of [[connectAct, process.argv[2]], [connectOpenpi, process.argv[3]]]) {
  const policy = asynchronous(await connect(url, { deadlineMs: 10000 }), {
    space: { name: 's', dimensions: ['x', 'y'].map((name) => ({ name, kind: 'position', unit: 'm' })) },
  });
  const { actions } = await policy.predict({ images: {}, state: [0] }, { instruction: 'go' });
  console.log(JSON.stringify([...actions]));
  await policy.close();
}`,
    );
    for (const system of systems) {
      const urls = [server.actUrl!, server.openpiUrl!];
      const child = spawn(process.execPath, ['--import', preload(system), program, ...urls], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
      assert.equal(out.trim().split('\n'), ['[0,0.0625]', '[0,0.0625]'], errors);
    }
  } finally {
    await server.close();
  }
});

test.run();
