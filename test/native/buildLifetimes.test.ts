/** No part of a build is used after it was freed, whichever of job, bridge and worker ends first. */

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { testWhen } from '../helpers/skip.ts';
import { fakeTensorRt, sanitizedBuildAddon, underAddressSanitizer } from '../runtime/fakeTensorRt.ts';

const lifetimes = suite('native/buildLifetimes');

/** Its library may be missing, or its address space refused. */
function canSanitize(): boolean {
  const env = underAddressSanitizer();
  return spawnSync(process.execPath, ['-e', '0'], { env }).status === 0;
}

testWhen(
  canSanitize(),
  'g++ has no address sanitizer that Node starts with',
  lifetimes,
  'settled, cancelled and terminated builds, under the address sanitizer',
  () => {
    const { library, parser, module } = fakeTensorRt();
    const script = join(import.meta.dirname, 'buildLifetimes.mjs');
    const { status, signal, stdout, stderr } = spawnSync(
      process.execPath,
      [script, sanitizedBuildAddon(), library, parser, module],
      { env: underAddressSanitizer(), encoding: 'utf8', timeout: 120_000 },
    );
    assert.is(status, 0, `${signal ?? ''} ${stdout}\n${stderr.slice(0, 4000)}`);
    assert.is(stdout.trim(), 'done');
  },
);

lifetimes.run();
