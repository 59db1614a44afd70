import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cli, inFolder } from '../helpers/cli.ts';

const test = suite('demo, evaluate');

interface Judged {
  readonly mean: number;
  readonly gripper: number;
  readonly dimensions: readonly { readonly name: string; readonly mean: number; readonly constant: number }[];
  readonly episodes: readonly { readonly instruction: string }[];
}

test('demo: the shipped policy follows the demonstrator, and leaves a page; evaluate says the same of its folder', async () => {
  await inFolder((dir) => {
    const out = join(dir, 'demo.html');
    const cache = join(dir, 'cache');
    const shown = cli('demo', '--out', out, '--cache', cache, '--json');
    assert.is(shown.code, 0, shown.stderr);
    assert.is(shown.stdout.trimEnd().split('\n').length, 1);
    const demo = JSON.parse(shown.stdout) as Judged & { checkpoint: string; out: string };
    assert.is(demo.out, out);
    assert.is(demo.episodes.length, 3);
    // it learned something: less than half as far off as whoever always does the same, in every dimension that moves
    for (const { name, mean, constant } of demo.dimensions) {
      if (constant > 0.1) assert.ok(mean < constant / 2, `${name}: ${mean} against ${constant}`);
    }
    assert.ok(demo.gripper > 0.9, String(demo.gripper));
    const page = readFileSync(out, 'utf8');
    for (const { instruction } of demo.episodes) assert.ok(page.includes(`“${instruction}”`), instruction);
    assert.not.match(page, /<script|(?:src|href)="(?!data:)/);

    const html = join(dir, 'evaluation.html');
    const episodes = ['--episodes', 'models/cubes/episodes', '--cache', cache];
    const judged = cli('evaluate', demo.checkpoint, demo.checkpoint, ...episodes, '--html', html, '--json');
    assert.is(judged.code, 0, judged.stderr);
    const { policies } = JSON.parse(judged.stdout) as { policies: Judged[] };
    assert.is(policies.length, 2);
    assert.equal(
      policies.map(({ mean }) => mean),
      [demo.mean, demo.mean],
    );
    assert.match(readFileSync(html, 'utf8'), /beside the demonstrator/);

    const text = cli('evaluate', demo.checkpoint, ...episodes, '--every', '20');
    assert.is(text.code, 0, text.stderr);
    assert.match(text.stdout, /^ *step +error +gripper +time +kept patches$/m);
    assert.match(text.stdout, /^\d+ steps compared: mean error 0\.\d{3}, gripper agrees in \d+\.\d %$/m);
  });
});

test('what is missing is asked for', () => {
  assert.match(cli('evaluate', 'policy').stderr, /^OPTION_REQUIRED: .*--episodes/);
  assert.match(
    cli('evaluate', 'policy', '--episodes', 'lib').stderr,
    /^EPISODE_INVALID: lib: expected episode\.json/,
  );
  const unwritable = cli('demo', '--out', '/nowhere/demo.html');
  assert.is(unwritable.code, 2);
  assert.match(unwritable.stderr, /^OUTPUT_UNWRITABLE: /m);
});

test.run();
