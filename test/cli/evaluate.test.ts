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
    const episodes = ['--data', 'models/libero/episodes', '--cache', cache];
    const judged = cli('evaluate', demo.checkpoint, demo.checkpoint, ...episodes, '--html', html, '--json');
    assert.is(judged.code, 0, judged.stderr);
    const { policies, changes } = JSON.parse(judged.stdout) as {
      policies: Judged[];
      changes: {
        readonly chunks: number;
        readonly mean: number;
        readonly sameKept: { count: number; of: number };
      }[];
    };
    assert.is(policies.length, 2);
    assert.equal(
      policies.map(({ mean }) => mean),
      [demo.mean, demo.mean],
    );
    // a policy beside itself
    assert.equal(
      changes.map(({ chunks, mean, sameKept }) => [chunks, mean, sameKept.count === sameKept.of]),
      [[41, 0, true]],
    );
    assert.match(readFileSync(html, 'utf8'), /beside the demonstrator/);

    const text = cli('evaluate', demo.checkpoint, ...episodes, '--every', '20');
    assert.is(text.code, 0, text.stderr);
    assert.match(text.stdout, /^ *step +error +gripper +time +kept patches$/m);
    assert.match(text.stdout, /^\d+ steps compared: mean error 0\.\d{3}, gripper agrees in \d+\.\d %$/m);

    // a dataset of others, of which one episode is read; what was taken for what is said
    const data = ['--data', 'test/dataset/recorded/lerobot-v3.0-images', '--episodes', '1', '--cache', cache];
    const long = [
      ...data,
      '--every',
      '3',
      '--instruction',
      'grab it',
      '--results',
      join(dir, 'results.jsonl'),
    ];
    // LIBERO's simulator opens at -1, its training data at 1: which of them a recording holds is asked for
    const unsaid = cli('evaluate', demo.checkpoint, ...long);
    assert.is(unsaid.code, 2);
    assert.match(
      unsaid.stderr,
      /^OPTION_REQUIRED: .*expected gripper of 0 or more, .*found -1\. Pass --gripper: /m,
    );
    long.push('--gripper', 'libero');
    const lerobot = cli('evaluate', demo.checkpoint, ...long);
    assert.is(lerobot.code, 0, lerobot.stderr);
    assert.match(lerobot.stdout, /lerobot-v3\.0-images: LeRobot v3\.0, 1 of 2 episodes$/m);
    assert.match(
      lerobot.stdout,
      /^ {2}images {3}full_image = observation\.images\.full_image, wrist_image = /m,
    );
    assert.match(lerobot.stdout, /^"grab it"$/m);
    // rows 0 to 5 and 3 to 5
    assert.match(lerobot.stdout, /^9 steps compared: mean error \d\.\d{3}, gripper agrees/m);
    assert.match(lerobot.stdout, /^normalized L1 error \d\.\d{3}$/m);
    assert.not.match(lerobot.stdout, /taken over/);
    // the names that there are, and the flag to say which
    const other = cli('evaluate', demo.checkpoint, ...data, '--camera', 'full_image=front', '--every', '6');
    assert.is(other.code, 2);
    assert.match(
      other.stderr,
      /^FEATURE_REQUIRED: .*: expected the image front, found observation\.images\.full_image, observation\.images\.wrist_image\. Pass --camera, /m,
    );
    // what was predicted stays; the weights in another form are another policy, whose actions differ by rounding alone
    const both = cli('evaluate', demo.checkpoint, ...long, '--weights', 'folded,mapped');
    assert.is(both.code, 0, both.stderr);
    assert.not.match(both.stdout, /taken over/, 'an option that was not given is another one');
    assert.match(
      both.stdout,
      /mapped +\d\.\d\de-\d +\d\.\d\de-\d +0 of 16 \(0\.00 %\) +4 of 4 \(100\.00 %\)$/m,
    );
    const again = cli('evaluate', demo.checkpoint, ...long, '--weights', 'mapped', '--json');
    assert.is((JSON.parse(again.stdout) as { policies: { takenOver: number }[] }).policies[0]!.takenOver, 2);
  });
});

test('what is missing is asked for', () => {
  assert.match(cli('evaluate', 'policy').stderr, /^OPTION_REQUIRED: .*--data/);
  assert.match(
    cli('evaluate', 'policy', '--data', 'lib').stderr,
    /^EPISODE_INVALID: lib: expected a LeRobot dataset .*episode\.json/,
  );
  assert.match(
    cli('evaluate', 'policy', '--data', 'lib', '--episodes', 'recorded/').stderr,
    /^OPTION_INVALID: .*Expected numbers such as 0,3-5\. \(--data/,
  );
  const unwritable = cli('demo', '--out', '/nowhere/demo.html');
  assert.is(unwritable.code, 2);
  assert.match(unwritable.stderr, /^OUTPUT_UNWRITABLE: /m);
});

test.run();
