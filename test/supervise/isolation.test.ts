/** Listeners, options and signals of users: none of them ends supervision, leaks, or causes restarts without pause. */

import { execFile } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Backoff, defaultBackoff, resolveBackoff, restartDelay } from '../../lib/supervise/backoff.ts';
import type { EngineEvent, SupervisedPolicy } from '../../lib/supervise/supervisedPolicy.ts';
import { type SuperviseOptions, superviseEngine } from '../../lib/supervise/superviseEngine.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';

const test = suite('isolation of supervision');
const module = fileURLToPath(new URL('./hostileEngine.ts', import.meta.url));
const quick = { firstMs: 1, factor: 1, giveUpAfter: 1e9 };

function supervise(options: Partial<SuperviseOptions> = {}): Promise<SupervisedPolicy> {
  return superviseEngine({
    engine: { module },
    deadlineMs: 60_000,
    silenceMs: 60_000,
    backoff: quick,
    ...options,
  });
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return error instanceof SemanticVlaError ? error.code : String(error);
  }
  return 'none';
}

/** Kills the engine, and returns once that is known. */
async function kill(policy: SupervisedPolicy): Promise<void> {
  process.kill(policy.pid!, 'SIGKILL');
  while (policy.state === 'ready') await sleep(1);
}

/** Does every kind of harm at every event, in turn. */
function harmful(policy: () => SupervisedPolicy): (event: EngineEvent) => unknown {
  let calls = 0;
  return (event) => {
    switch (calls++ % 5) {
      case 0:
        throw new Error(`on ${event.kind}`);
      case 1:
        return Promise.reject(new Error(`on ${event.kind}`));
      case 2:
        return new Promise(() => {});
      case 3: {
        // longer than any silence that a quick restart leaves
        const until = performance.now() + 30;
        while (performance.now() < until);
        return true;
      }
      default:
        policy().listen(harmful(policy));
    }
    throw null;
  };
}

test('listeners that throw, reject, block, return or add listeners: the next engine comes, and answers', async () => {
  const heard: string[] = [];
  let policy: SupervisedPolicy | null = null;
  const options = {
    onEvent: (event: EngineEvent) => {
      heard.push(event.kind);
      throw new Error(`onEvent on ${event.kind}`);
    },
  };
  policy = await supervise(options);
  try {
    for (let i = 0; i < 5; i++) policy.listen(harmful(() => policy!));
    const last: string[] = [];
    policy.listen(({ kind }) => last.push(kind));
    for (let i = 0; i < 3; i++) {
      await kill(policy);
      await policy.whenReady();
      const { actions } = await policy.predict({ images: {}, state: [i] }, { instruction: 'go' });
      assert.is(actions[0], i);
    }
    const story = Array.from({ length: 3 }, () => ['lost', 'restarting', 'ready']).flat();
    assert.equal(last, story, 'who is told after them hears all');
    assert.equal(heard, ['ready', ...story]);
  } finally {
    await policy.close();
  }
});

test('a listener may close what it listens to', async () => {
  for (const at of ['lost', 'restarting'] as const) {
    const policy = await supervise();
    const told: string[] = [];
    const closed = new Promise<void>((resolve) => {
      policy.listen(({ kind }) => {
        told.push(kind);
        if (kind === at) resolve(policy.close());
      });
    });
    const alive = setInterval(() => {}, 1000);
    process.kill(policy.pid!, 'SIGKILL');
    await closed;
    clearInterval(alive);
    assert.is(policy.state, 'closed', at);
    assert.is(told.at(-1), at);
    assert.is(await codeOf(policy.whenReady()), 'CLOSED');
  }
});

test('listen and onEvent take functions', async () => {
  assert.is(await codeOf(supervise({ onEvent: 'log' as unknown as () => void })), 'OPTION_INVALID');
  await using policy = await supervise();
  for (const wrong of [undefined, null, 'log', {}])
    assert.throws(() => policy.listen(wrong as unknown as () => void), /a function/);
});

test('whoever waits leaves no listener on the signal, however the wait ends', async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const listeners = (): number => getEventListeners(signal, 'abort').length;
  await using policy = await supervise();
  await policy.whenReady(signal);
  await policy.predict({ images: {} }, { instruction: 'go', signal });
  assert.is(listeners(), 0);
  await kill(policy);
  const waits = Array.from({ length: 20 }, () => policy.whenReady(signal));
  assert.is(listeners(), 20);
  await Promise.all(waits);
  assert.is(listeners(), 0);
  await kill(policy);
  const aborted = Array.from({ length: 20 }, () => codeOf(policy.whenReady(signal)));
  controller.abort(new Error('enough'));
  assert.equal(new Set(await Promise.all(aborted)), new Set(['Error: enough']));
  assert.is(listeners(), 0);
  assert.is(await codeOf(policy.whenReady({} as AbortSignal)), 'OPTION_INVALID');
});

test('the engine gets the server’s token only where it is given to it', async () => {
  const before = process.env.SEMANTICVLA_TOKEN;
  process.env.SEMANTICVLA_TOKEN = 'a-token-of-the-server';
  try {
    await using without = await supervise();
    assert.is(without.variant, 'token none');
    await using given = await supervise({ env: { SEMANTICVLA_TOKEN: 'mine' } });
    assert.is(given.variant, 'token mine');
  } finally {
    if (before === undefined) delete process.env.SEMANTICVLA_TOKEN;
    else process.env.SEMANTICVLA_TOKEN = before;
  }
});

test('out of descriptors: said with a code, nothing left open, and well again afterwards', async () => {
  const supervised = new URL('../../lib/supervise/superviseEngine.ts', import.meta.url).href;
  const program = `
    import { closeSync, openSync, readdirSync } from 'node:fs';
    const { superviseEngine } = await import(${JSON.stringify(supervised)});
    const engine = { module: ${JSON.stringify(module)} };
    const start = (transport) => superviseEngine({ engine, transport, deadlineMs: 60_000, silenceMs: 60_000 });
    const open = () => readdirSync('/proc/self/fd').length;
    // once, so that what Node itself opens is open
    await (await start('shared')).close();
    const idle = open();
    const codes = [];
    const fds = [];
    for (const transport of ['shared', 'pipe']) for (let left = 0; left < 4; left++) {
      fds.length = 0;
      try { for (;;) fds.push(openSync('/dev/null', 'r')); } catch {}
      for (let i = 0; i < left; i++) closeSync(fds.pop());
      codes.push(await start(transport).then((p) => p.close(), (error) => error.code));
      for (const fd of fds) closeSync(fd);
      // what a process that did not start leaves is closed a moment later
      for (let i = 0; i < 1000 && open() !== idle; i++) await new Promise((resolve) => setTimeout(resolve, 20));
      codes.push(open());
    }
    const before = open();
    await (await start('shared')).close();
    console.log(JSON.stringify({ codes, before }));`;
  const { stdout } = await promisify(execFile)(
    'sh',
    ['-c', 'ulimit -n 96; exec "$0" --import tsx --input-type=module -e "$1"', process.execPath, program],
    { timeout: 120_000 },
  );
  const { codes, before } = JSON.parse(stdout) as { codes: (string | number)[]; before: number };
  assert.is(codes.length, 16);
  for (let i = 0; i < codes.length; i += 2) {
    assert.is(codes[i], 'BACKEND_UNAVAILABLE', JSON.stringify(codes));
    assert.is(codes[i + 1], before, `${i}: ${JSON.stringify(codes)}`);
  }
});

test('no program to start: said with a code, and nothing left open', async () => {
  const open = (): number => readdirSync('/proc/self/fd').length;
  const { execPath } = process;
  const before = open();
  process.execPath = '/no/such/node';
  try {
    for (const transport of ['shared', 'pipe'] as const)
      for (let i = 0; i < 3; i++)
        assert.match(await codeOf(supervise({ transport })), /^(ENGINE_LOST|BACKEND_UNAVAILABLE)$/);
  } finally {
    process.execPath = execPath;
  }
  for (let i = 0; i < 1000 && open() !== before; i++) await sleep(20);
  assert.is(open(), before);
});

test('no back-off is a storm: what is accepted waits at least a millisecond, and gives up or says never', () => {
  const numbers = fc.oneof(
    fc.double(),
    fc.integer({ min: -2, max: 4000 }),
    fc.constantFrom(undefined, null, '5', 0, -0, 1, 2 ** 31 - 1, 2 ** 31, 1e308, Infinity, -Infinity, NaN),
  );
  let [accepted, refused] = [0, 0];
  fc.assert(
    fc.property(
      fc.record(Object.fromEntries(Object.keys(defaultBackoff).map((name) => [name, numbers])), {
        requiredKeys: [],
      }),
      (given) => {
        let backoff: Backoff;
        try {
          backoff = resolveBackoff(given as Partial<Backoff>);
        } catch (error) {
          refused++;
          assert.is((error as SemanticVlaError).code, 'OPTION_INVALID');
          return;
        }
        accepted++;
        let before = 0;
        for (const losses of [1, 2, 3, 10, 100, 1e6]) {
          const delay = restartDelay(backoff, losses);
          assert.ok(delay >= 1 && delay < 2 ** 31, `${delay}`);
          assert.ok(delay >= before, 'never shorter than the last');
          before = delay;
        }
        assert.ok(backoff.giveUpAfter >= 1 && backoff.stableMs > 0);
      },
    ),
    { numRuns: 2000 },
  );
  assert.ok(accepted > 50 && refused > 50, `${accepted} ${refused}`);
});

test('options that would arrive as something else are refused', async () => {
  const circle: { self?: unknown } = {};
  circle.self = circle;
  const engines = [
    { module: '' },
    { checkpoint: 5 },
    { module, options: { onProgress: () => {} } },
    { module, options: { deep: [{ signal: new AbortController().signal }] } },
    { module, options: { big: 5n } },
    { module, options: { scale: Number.NaN } },
    { module, options: circle },
    { module, options: 5n },
  ];
  for (const engine of engines)
    assert.is(
      await codeOf(supervise({ engine: engine as never })),
      'OPTION_INVALID',
      Object.keys(engine).join(),
    );
  assert.is(await codeOf(supervise({ env: { A: 5 } as never })), 'OPTION_INVALID');
  assert.is(await codeOf(supervise({ signal: {} as never })), 'OPTION_INVALID');
  await using policy = await supervise();
  const odd = [{ instruction: 5n }, { instruction: undefined }, { instruction: 'go', unnormKey: 5 }];
  for (const options of odd)
    assert.match(await codeOf(policy.predict({ images: {} }, options as never)), /_INVALID$/);
});

test.run();
