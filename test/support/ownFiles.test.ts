import { mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { putInPlace } from '../../lib/support/ownFiles.ts';
import { scratchFolder } from '../helpers/golden.ts';

const test = suite('own files');

test('a finished file goes where nothing is, or what is not sound; what is sound stays the file that it was', async () => {
  const folder = mkdtempSync(join(scratchFolder(), 'own-'));
  const file = join(folder, 'weights');
  const put = async (content: string, isSound: boolean | null): Promise<void> => {
    const temporary = join(folder, 'weights.tmp');
    writeFileSync(temporary, content);
    await putInPlace(temporary, file, async () => {
      assert.ok(isSound !== null, 'asked where nothing was');
      return isSound;
    });
  };
  await put('first', null);
  const first = statSync(file).ino;
  await put('second', true);
  assert.is(readFileSync(file, 'utf8'), 'first');
  assert.is(statSync(file).ino, first);
  await put('third', false);
  assert.is(readFileSync(file, 'utf8'), 'third');
  assert.equal(readdirSync(folder), ['weights']);
});

test.run();
