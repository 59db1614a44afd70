/**
 * What is said if a package is missing, incomplete, or built for another machine; test/scripts/package.test.ts has the
 * commands.
 */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import { checkPackages, loadPackages } from '../../lib/support/optionalPackage.ts';

const test = suite('optional packages');

async function said(act: () => unknown): Promise<string> {
  try {
    await act();
  } catch (error) {
    assert.is((error as SemanticVlaError).code, 'PACKAGE_UNAVAILABLE');
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
}

test('only what is missing is named; the reason why one does not load is', async () => {
  assert.is(
    await said(() => checkPackages('--out x.html', { names: ['vega', 'vega-none'] })),
    '--out x.html: expected the optional package vega-none, found it not installed. Run `npm ci`.',
  );
  assert.is(
    await said(() => checkPackages('a.png', { names: ['none-1', 'none-2'], instead: 'give raw pixels' })),
    'a.png: expected the optional packages none-1 and none-2, found them not installed. Run `npm ci`, or give raw pixels.',
  );
  const otherMachine = () => Promise.reject(new Error('no binary for linux-x64\nand more'));
  assert.is(
    await said(() => loadPackages('a.png', { names: ['sharp'] }, otherMachine)),
    'a.png: expected the optional package sharp to load, found: no binary for linux-x64. Install anew with `npm ci`.',
  );
  assert.is(await loadPackages('a.png', { names: ['sharp'] }, async () => 7), 7);
});

test.run();
