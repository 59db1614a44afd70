/** A loop that reports: to nobody, to a page that looks, and to a server that has none. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connectAct, connectOpenpi } from '../../lib/client/connect.ts';
import { reportLoop } from '../../lib/client/reportLoop.ts';
import type { ControlLoopOptions } from '../../lib/schedule/controlLoop.ts';
import type { LoopEvent, SentAction } from '../../lib/schedule/loopEvents.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { FakePolicy } from '../serve/fakePolicy.ts';
import { served, until } from '../serve/harness.ts';

const test = suite('reportLoop');

function loop(): {
  readonly options: ControlLoopOptions;
  readonly acted: SentAction[];
  readonly told: LoopEvent[];
} {
  const acted: SentAction[] = [];
  const told: LoopEvent[] = [];
  const options = {
    rate: 20,
    act: (action: SentAction) => void acted.push(action),
    onEvent: (event: LoopEvent) => void told.push(event),
  } as unknown as ControlLoopOptions;
  return { options, acted, told };
}

const action = (values: readonly number[], held: SentAction['held'] = null): SentAction => ({
  values: Float64Array.from(values),
  held,
  at: performance.now(),
  instruction: 'go',
  epoch: 1,
  observedAt: null,
  newestObservedAt: null,
});

test('the page hears what was sent and why it held; the loop does what it did', async () => {
  await served(new FakePolicy({ immediate: true }), { live: true }, async ({ act }) => {
    const abort = new AbortController();
    const { body } = await fetch(`${act}/live/events`, { signal: abort.signal });
    let text = '';
    void (async () => {
      for await (const piece of body!.pipeThrough(new TextDecoderStream())) text += piece;
    })().catch(() => {});
    const { options, acted, told } = loop();
    const reported = reportLoop(options, { url: act, robot: 'left arm' });
    const hold: LoopEvent = { type: 'hold', at: performance.now(), reason: 'outOfRange', dimension: 'y' };
    // the first question is whether anybody looks, and what comes before its answer is kept by nobody
    let count = 0;
    await until(() => {
      count++;
      reported.act(action([count, 2, 3], count % 2 === 0 ? 'idle' : null));
      reported.onEvent!(hold);
      return (
        /"values":\[\d+,2,3\],"held":true/.test(text) &&
        /"reason":"outOfRange","dimensions":\["y"\]/.test(text)
      );
    }, 'the report');
    assert.match(text, /"robot":"left arm","periodMs":50/);
    assert.is(acted.length, count);
    assert.is(told.length, count);
    assert.is(told[0], hold);
    abort.abort();
  });
});

test('a server without a page: the loop goes on, and a process warning says it once', async () => {
  await served(new FakePolicy({ immediate: true }), {}, async ({ openpi }) => {
    const { options, acted } = loop();
    const reported = reportLoop(options, { url: openpi, robot: 'a' });
    // the loop of the test before may find its own server gone
    const own = new URL(openpi).host;
    const warnings: (Error & { code?: string })[] = [];
    const listen = (warning: Error): void => void (warning.message.includes(own) && warnings.push(warning));
    process.on('warning', listen);
    reported.act(action([1, 2, 3]));
    await until(() => warnings.length > 0, 'the warning');
    reported.act(action([1, 2, 3]));
    process.off('warning', listen);
    const [warning] = warnings as [Error & { code?: string }];
    assert.is(warning.code, 'SEMANTICVLA_REPORT_LOST');
    assert.match(warning.message, /found: status 404\. The loop goes on.*--live/);
    assert.is(acted.length, 2);
  });
});

test('addresses and names that cannot be are refused', () => {
  const { options } = loop();
  const refused = (to: object, code: string): void => {
    assert.throws(
      () => reportLoop(options, to as Parameters<typeof reportLoop>[1]),
      (error: unknown) => error instanceof SemanticVlaError && error.code === code,
    );
  };
  refused({ url: 'http://127.0.0.1:1/path', robot: 'a' }, 'OPTION_INVALID');
  refused({ url: 'http://127.0.0.1:1', robot: ' ' }, 'OPTION_INVALID');
  refused({ url: 'http://127.0.0.1:1', robot: 'a'.repeat(65) }, 'OPTION_INVALID');
  refused({ url: 'http://127.0.0.1:1', robot: 'a', tokn: '' }, 'OPTION_UNKNOWN');
});

test('`robot` of the clients goes with each request, and a name that is none is refused', async () => {
  const observation = {
    images: Object.fromEntries(
      ['full_image', 'wrist_image'].map((camera) => [
        camera,
        { data: new Uint8Array(12), width: 2, height: 2 },
      ]),
    ),
    state: [1, 2, 3],
  };
  await served(new FakePolicy({ immediate: true }), { live: true }, async ({ act, openpi }) => {
    const abort = new AbortController();
    const { body } = await fetch(`${act}/live/events`, { signal: abort.signal });
    let text = '';
    void (async () => {
      for await (const piece of body!.pipeThrough(new TextDecoderStream())) text += piece;
    })().catch(() => {});
    for (const connecting of [
      connectAct(act, { deadlineMs: 60_000, robot: 'one' }),
      connectOpenpi(openpi, { deadlineMs: 60_000, robot: 'two' }),
    ]) {
      await using policy = await connecting;
      await policy.predict(observation, { instruction: 'go' });
    }
    await until(() => /"robot":"one"/.test(text) && /"robot":"two"/.test(text), 'both names');
    abort.abort();
    const error = await connectAct(act, { deadlineMs: 1, robot: '' }).catch((cause: unknown) => cause);
    assert.is((error as SemanticVlaError).code, 'OPTION_INVALID');
  });
});

test.run();
