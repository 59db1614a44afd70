import { once } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Notice, NoticeLog } from '../../lib/support/notices.ts';

const test = suite('notices');
const mixed: Notice = { code: 'STEPS_MIXED', message: 'a of step 1, b of step 2' };
const other: Notice = { code: 'STATISTICS_FROM_CONFIG', message: 'config.json' };

test('each is said once, at once, and kept in order', () => {
  const heard: Notice[] = [];
  const log = new NoticeLog((notice) => heard.push(notice));
  log.add(mixed);
  assert.equal(heard, [mixed]);
  log.add(other);
  log.add({ ...mixed });
  assert.equal(heard, [mixed, other]);
  assert.equal(log.notices, [mixed, other]);
});

test('where nobody listens it is a warning of the process, with its code', async () => {
  const warned = once(process, 'warning');
  new NoticeLog().add(mixed);
  const [warning] = (await warned) as [Error & { code?: string }];
  assert.equal(
    [warning.name, warning.code, warning.message],
    ['SemanticVlaNotice', mixed.code, mixed.message],
  );
});

test.run();
