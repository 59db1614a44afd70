/** Datasets written anew, in LeRobot's and LIBERO's documented layouts, larger than the recorded ones: as Python's readers find them. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { datasetPython, findFfmpeg } from '../helpers/datasetPython.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { testWhen } from '../helpers/skip.ts';
import { compare, type Reference } from './recorded.ts';

const test = suite('datasets written anew');
const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
const found = isLong ? datasetPython() : { missing: 'SEMANTICVLA_LONG_TESTS=1 runs it' };

testWhen(
  'python' in found,
  'missing' in found ? found.missing : '',
  test,
  'H.264 with B-frames, AV1 with long groups, JPEG, gzip, several files, several tasks, HDF5',
  async () => {
    const { python } = found as { readonly python: string };
    const ffmpeg = findFfmpeg();
    if ('missing' in ffmpeg) throw new Error(ffmpeg.missing);
    process.env.SEMANTICVLA_FFMPEG = ffmpeg.ffmpeg;
    const out = mkdtempSync(join(scratchFolder(), 'written-'));
    const run = (script: string, ...args: string[]): string => {
      const { status, stdout, stderr } = spawnSync(python, [join(import.meta.dirname, script), ...args], {
        encoding: 'utf8',
        maxBuffer: 64 << 20,
        env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', SVT_LOG: '1' },
      });
      assert.is(status, 0, stderr);
      return stdout;
    };
    run('writeLeRobot.py', out, '4', '90');
    run('writeLibero.py', out, '112');
    const names = ['v21-h264', 'v30-av1', 'v30-jpeg', 'cubes_no_noops', 'raw_demo.hdf5'];
    const reference = JSON.parse(run('reference.py', ...names.map((name) => join(out, name)))) as Reference;
    for (const name of names) {
      assert.ok(reference[name]!.length > 0, name);
      await compare(join(out, name), reference[name]!);
    }
  },
);

test.run();
