/** The native TensorRT code without TensorRT: compiles against every header set, and answers as a plugin library must. */

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { modulePath } from '../../lib/addon/nativeFiles.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { cudaInclude, headerFolder, missingHeaders } from '../helpers/headers.ts';
import { testWhen } from '../helpers/skip.ts';

const plugins = suite('plugins');
const root = fileURLToPath(new URL('../..', import.meta.url));
const cuda = cudaInclude();
const hasHeaders = existsSync(headerFolder) && cuda !== null;
const missing = missingHeaders;

testWhen(hasHeaders, missing, plugins, 'every set of headers takes the sources, warnings as errors', () => {
  const text = execFileSync(join(root, 'scripts/compileAgainstHeaders.sh'), { encoding: 'utf8', cwd: root });
  for (const version of ['10.3.0', '10.15.1', '11.1.0', '1.6.1']) {
    assert.match(text, new RegExp(`\\(${version.replaceAll('.', '\\.')}\\): \\d+ files compile`));
  }
});

const families = { trt10: 'trt-10.3', trt11: 'trt-11.1', rtx1: 'rtx-1.6' } as const;
for (const [family, headers] of Object.entries(families)) {
  const module = modulePath(family);
  testWhen(
    hasHeaders && module !== null,
    hasHeaders ? `semanticvla_${family}.so is not built (npm run build:native)` : missing,
    plugins,
    `semanticvla_${family}.so answers as a plugin library`,
    () => {
      const program = join(scratchFolder(), `pluginContract-${family}`);
      const compile = ['-std=c++17', '-Wall', '-Wextra', '-Werror', '-o', program];
      const include = ['-isystem', join(headerFolder, headers), '-isystem', cuda!];
      const source = join(root, 'test/plugins/pluginContract.cpp');
      execFileSync(process.env.CXX ?? 'g++', [...compile, ...include, source, '-ldl']);
      const { status, stdout } = spawnSync(program, [module!], { encoding: 'utf8' });
      assert.is(stdout.trim(), '0 faults');
      assert.is(status, 0);
    },
  );
}

plugins.run();
