/** The recorder makes the shipped episode again: the same scene, actions and states, where its simulator is. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { exampleEpisodes } from '../../lib/example/exampleEpisodes.ts';
import { root } from '../helpers/cli.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { testWhen } from '../helpers/skip.ts';

const test = suite('recording');

const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
const python = join(cache, 'semanticvla/simulator-venv/bin/python');

testWhen(
  existsSync(python),
  `${python} is not there (training/setup.sh makes it)`,
  test,
  'a seed gives the same episode',
  async () => {
    const [shipped] = await exampleEpisodes();
    const head = JSON.parse(readFileSync(join(shipped!, 'episode.json'), 'utf8'));
    const { seed, family } = head.recorded as { seed: number; family: string };
    const out = join(mkdtempSync(join(scratchFolder(), 'recording-')), 'episode');
    const script = join(root, 'training/recordEpisode.py');
    const { status, stderr } = spawnSync(python, [script, out, '--seed', String(seed), '--family', family], {
      encoding: 'utf8',
      timeout: 300_000,
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    });
    assert.is(status, 0, stderr);
    assert.equal(JSON.parse(readFileSync(join(out, 'episode.json'), 'utf8')), head);
    for (const file of ['actions.npy', 'states.npy'])
      assert.ok(readFileSync(join(out, file)).equals(readFileSync(join(shipped!, file))), file);
  },
);

test.run();
