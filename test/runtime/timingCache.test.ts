/** TensorRT's timing cache over each version's own interfaces, without TensorRT; under the address sanitizer. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scratchFolder } from '../helpers/golden.ts';
import { cudaInclude, headerFolder, missingHeaders } from '../helpers/headers.ts';
import { testWhen } from '../helpers/skip.ts';

const test = suite('native timing cache');
const root = join(import.meta.dirname, '../..');
const cuda = cudaInclude();

/** Every pure function of an interface, doing nothing. */
function stubs(header: string, name: string): string {
  const text = readFileSync(header, 'utf8');
  const body = text.slice(text.indexOf(`class ${name} : `)).split('\n};', 1)[0]!;
  const lines = body.match(/^ {4}(TRT_\w+ )?virtual [^;]* = 0;/gm) ?? [];
  assert.ok(lines.length > 2, `${name} in ${header}`);
  return lines.map((line) => line.replace(/TRT_\w+ /, '').replace(/virtual (.*) = 0;/s, answer)).join('\n');
}

const answer = (_: string, declaration: string): string =>
  `${declaration} override { ${declaration.startsWith('void ') ? '' : 'return {};'} }`;

for (const version of ['trt-10.3', 'trt-10.15', 'trt-11.1']) {
  const headers = join(headerFolder, version);
  testWhen(
    existsSync(headers) && cuda !== null,
    missingHeaders,
    test,
    `${version}: taken, refused with the reason, combined, given back`,
    () => {
      const folder = mkdtempSync(join(scratchFolder(), 'timings-'));
      const impl = join(headers, 'NvInferImpl.h');
      writeFileSync(join(folder, 'builderConfigStubs.h'), stubs(impl, 'VBuilderConfig'));
      writeFileSync(join(folder, 'timingCacheStubs.h'), stubs(impl, 'VTimingCache'));
      const program = join(folder, 'tests');
      const native = ['timingCache', 'buildLog'].map((name) => join(root, `native/runtime/${name}.cpp`));
      const built = spawnSync(
        'g++',
        [
          ...[
            '-std=c++17',
            '-O0',
            '-g1',
            '-fsanitize=address',
            '-Wno-deprecated-declarations',
            '-o',
            program,
          ],
          ...['-isystem', headers, '-isystem', cuda!, `-I${join(root, 'native')}`, `-I${folder}`],
          join(root, 'test/runtime/fake/timingCacheTests.cpp'),
          ...native,
        ],
        { encoding: 'utf8' },
      );
      assert.is(built.status, 0, built.stderr);
      const { status, stdout, stderr } = spawnSync(program, { encoding: 'utf8' });
      assert.is(stdout.trim(), '0 faults', stderr);
      assert.is(status, 0, stderr);
    },
  );
}

test.run();
