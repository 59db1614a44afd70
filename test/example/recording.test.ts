/** The recorder makes the repository's episodes again: the same scene, actions and states, where its simulator is. */

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
import { python, reason, runs } from '../training/liberoVenv.ts';

const test = suite('recording');

const simulator = join(
  process.env.XDG_CACHE_HOME || join(homedir(), '.cache'),
  'semanticvla/simulator-venv/bin/python',
);

async function recordsAgain(task: string, python: string, side: string, shipped: string): Promise<void> {
  const head = JSON.parse(readFileSync(join(shipped, 'episode.json'), 'utf8'));
  const { seed, family } = head.recorded as { seed: number; family: string };
  const out = join(mkdtempSync(join(scratchFolder(), 'recording-')), 'episode');
  const asked = ['--task', task, '--seed', String(seed), '--family', family, '--side', side];
  const { status, stderr } = spawnSync(python, [join(root, 'training/recordEpisode.py'), out, ...asked], {
    encoding: 'utf8',
    timeout: 300_000,
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
  });
  assert.is(status, 0, stderr);
  assert.equal(JSON.parse(readFileSync(join(out, 'episode.json'), 'utf8')), head);
  for (const file of ['actions.npy', 'states.npy'])
    assert.ok(readFileSync(join(out, file)).equals(readFileSync(join(shipped, file))), file);
}

testWhen(
  existsSync(simulator),
  `${simulator} is not there (training/setup.sh makes it)`,
  test,
  'a seed gives the same episode of cubes',
  () => recordsAgain('pick', simulator, '192', join(root, 'models/cubes/episodes/1-next-to-purple')),
);

testWhen(runs, reason, test, 'a seed gives the same episode of LIBERO', async () => {
  const [shipped] = await exampleEpisodes();
  await recordsAgain('libero', python, '192', shipped!);
});

test.run();
