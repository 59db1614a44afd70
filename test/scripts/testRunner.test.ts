import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const test = suite('test runner');
const root = resolve(import.meta.dirname, '../..');

// Composed at run time: the runner searches sources for it, and this file is one.
const only = 'only';
const header = `import { suite } from 'uvu'; import * as assert from 'uvu/assert'; const t = suite('s');\n`;

/**
 * Runs the runner over a folder with these `files`, replacing DIR in texts and arguments; returns its exit code and standard
 * output.
 */
function run(
  files: Record<string, string>,
  ...args: string[]
): { code: number | null; out: string; last: string } {
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-runner-'));
  try {
    symlinkSync(join(root, 'node_modules'), join(dir, 'node_modules'));
    writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
    const place = (text: string): string => text.replaceAll('DIR', relative(root, dir));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), place(text));
    const options = ['--dir', dir, ...args.map(place)];
    const child = spawnSync(process.execPath, ['--import', 'tsx', 'scripts/test.ts', ...options], {
      cwd: root,
      encoding: 'utf8',
    });
    return { code: child.status, out: child.stdout, last: child.stdout.trimEnd().split('\n').at(-1) ?? '' };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

test('sums the files and closes with one plain line', () => {
  const result = run({
    'a.test.ts': `${header}t('1', () => {}); t('2', () => {}); t.run();`,
    'b.test.ts': `${header}t('1', () => {}); console.log('SKIP gpu: none'); t.skip('gpu'); t.run();`,
    'helper.ts': 'throw new Error("not a test");',
  });
  assert.is(result.last, '3 passed, 0 failed, 1 skipped');
  assert.is(result.code, 0);
  assert.match(result.out, /SKIP gpu: none/);
});

test('what uvu calls green is a failure here', () => {
  const result = run(
    {
      'failing.test.ts': `${header}t('1', () => {}); t('2', () => assert.is(1, 2)); t.run();`,
      'noRun.test.ts': `${header}t('1', () => {});`,
      'empty.test.ts': `${header}t.run();`,
      'half.test.ts': `${header}const u = suite('u'); u('1', () => {}); t('1', () => {}); t.run();`,
      'only.test.ts': `${header}t('1', () => assert.is(1, 2)); t.${only}('2', () => {}); t.run();`,
      'silentSkip.test.ts': `${header}t('1', () => {}); t.skip('2'); t.run();`,
      'hook.test.ts': `${header}t.before(() => { throw new Error('x'); }); t('1', () => {}); t.run();`,
      'early.test.ts': `${header}t('1', () => new Promise(() => {})); t.run();`,
      'exit.test.ts': `${header}t('1', () => process.exit(0)); t.run();`,
    },
    '--limit',
    '60',
  );
  assert.is(result.code, 1);
  assert.is(result.out.match(/^FAIL /gm)?.length, 9, result.out);
  assert.match(result.last, /^\d+ passed, 9 failed, \d+ skipped$/);
});

test('a file past its time is stopped with what it started', () => {
  const result = run(
    { 'hang.test.ts': `${header}t('1', () => new Promise((r) => setTimeout(r, 60000))); t.run();` },
    '--limit',
    '2',
  );
  assert.is(result.last, '0 passed, 1 failed');
  assert.match(result.out, /stopped after 2 s/);
});

test('a filter chooses files; one that matches nothing is an error', () => {
  const files = {
    'alpha.test.ts': `${header}t('1', () => {}); t.run();`,
    'beta.test.ts': `${header}t('1', () => assert.is(1, 2)); t.run();`,
  };
  assert.is(run(files, 'alph').last, '1 passed, 0 failed');
  assert.is(run(files, 'gamma').code, 2);
});

test('after an earlier run: what skipped, long tests and named files again, each test counted once', () => {
  const log = [
    'ok   DIR/whole.test.ts  5 passed  1.0 s',
    'FAIL DIR/broken.test.ts  3 passed, 2 failed  1.0 s',
    'ok   DIR/partial.test.ts  1 passed, 1 skipped  1.0 s',
    'FAIL DIR/once.test.ts  0 passed, 1 failed, 1 skipped  1.0 s',
    'ok   DIR/named.test.ts  1 passed  1.0 s',
    'ok   DIR/long.test.ts  1 passed  1.0 s',
  ];
  const two = `${header}t('1', () => {}); t('2', () => {}); t.run();`;
  const files = {
    'whole.test.ts': two,
    'broken.test.ts': two,
    'partial.test.ts': two,
    'once.test.ts': two,
    'named.test.ts': two,
    'new.test.ts': two,
    'long.test.ts': `${header}t('1', () => assert.ok(process.env.${'SEMANTICVLA_LONG'}_TESTS !== '')); t.run();`,
    'log.txt': log.join('\n'),
  };
  const { out, last, code } = run(files, '--after', 'DIR/log.txt', 'named');
  const ran = [...out.matchAll(/(\w+)\.test\.ts /g)].map(([, name]) => name).sort();
  assert.equal(ran, ['long', 'named', 'new', 'once', 'partial'], out);
  // 5 + 3 of the files that did not run again; of once.test.ts the failure of the first run stands
  assert.is(last, '16 passed, 3 failed');
  assert.is(code, 1);
  assert.is(run({ 'a.test.ts': two, 'log.txt': 'nothing' }, '--after', 'DIR/log.txt').code, 2);
});

test.run();
