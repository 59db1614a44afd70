/**
 * `npm run build:native`: the whole addon through cmake-js into build-cmake/Release: semanticvla.node, one TensorRT module
 * per family whose headers are found, and the CUDA kernels when nvcc is there. Downloads nothing.
 *
 *   --sanitize       address and undefined-behaviour sanitizers, into build-cmake-sanitize/
 *   --archs 87,89    compute capabilities of the kernels (default: all that nvcc knows of ours)
 *
 * Plain JavaScript, so that it also runs where the package is a dependency: npm explore semanticvla -- npm run build:native
 *
 * TENSORRT_ROOT names TensorRT's headers, CUDA_HOME the toolkit; scripts/fetchNvcc.sh makes one without an installation.
 */

import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const { values } = parseArgs({
  options: { sanitize: { type: 'boolean', default: false }, archs: { type: 'string' } },
});

/**
 * @param {string} sentence
 * @returns {never}
 */
function fail(sentence) {
  console.error(`semanticvla: ${sentence}`);
  process.exit(1);
}

if (spawnSync('cmake', ['--version']).status !== 0) {
  fail('needs cmake to build the TensorRT part and found none; install it with: apt-get install -y cmake');
}

function findCmakeJs() {
  try {
    const manifest = createRequire(import.meta.url).resolve('cmake-js/package.json');
    return join(dirname(manifest), 'bin/cmake-js');
  } catch {
    // an optional peer: a project that stays on the CPU has no use for it
    return fail(
      'needs cmake-js and found none; install it with: npm install --save-dev cmake-js (pnpm add -D cmake-js, yarn add -D cmake-js; in a clone: npm ci)',
    );
  }
}

const type = values.sanitize ? 'Sanitize' : 'Release';
const out = values.sanitize ? 'build-cmake-sanitize' : 'build-cmake';
const common = ['--out', out, '--config', type, '--parallel', String(availableParallelism())];
if (values.archs !== undefined) common.push(`--CDSEMANTICVLA_ARCHS=${values.archs.replaceAll(',', ';')}`);
// configured each time: headers and toolkits come and go between two builds
for (const step of ['configure', 'build']) {
  const result = spawnSync(process.execPath, [findCmakeJs(), step, ...common], {
    cwd: root,
    stdio: 'inherit',
  });
  if (result.status !== 0)
    fail(`the native part did not build; the output above says why (it is in ${out}/)`);
}
console.log(`built into ${out}/Release`);
