/** The session's C++ on a device without a GPU: every call failing once, a thousand lives, graphs, weights; sanitized too. */

import { spawnSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { sessionTests } from './fakeTensorRt.ts';

const test = suite('native session');

for (const sanitize of [false, true]) {
  test(sanitize ? 'with address and undefined-behaviour sanitizers' : 'as it is built', () => {
    const { status, stdout, stderr } = spawnSync(sessionTests(sanitize), { encoding: 'utf8' });
    assert.is(status, 0, `${stdout}\n${stderr}`);
    assert.match(stdout, /^28 passed, 0 failed$/m);
  });
}

test.run();
