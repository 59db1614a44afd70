import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NativeCpuWork } from '../../lib/addon/binding.ts';
import type { Reply, Request } from '../../lib/addon/onnxMessages.ts';
import { RequestQueue } from '../../lib/runtime/requestQueue.ts';

const test = suite('RequestQueue');

/** A thread that answers when it is told to. */
class Thread {
  readonly given: { state: number; cancelled: boolean; answer: () => void; fail: (error: Error) => void }[] =
    [];

  readonly start = (request: Request): NativeCpuWork => {
    const { promise, resolve, reject } = settleable<Reply>();
    const state = request.kind === 'release' ? request.state : -1;
    const entry = {
      state,
      cancelled: false,
      answer: () => resolve({ outputs: {}, ms: state, at: 0 }),
      fail: reject,
    };
    this.given.push(entry);
    return {
      done: promise,
      cancel: () => {
        entry.cancelled = true;
      },
    };
  };
}

function settleable<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

const release = (state: number): Request => ({ kind: 'release', state });
const turn = () => new Promise((resolve) => setImmediate(resolve));
const outcome = (promise: Promise<Reply>) => promise.then(({ ms }) => ms, String);

test('two are on their way, the others wait in order; a failed one makes room, too', async () => {
  const thread = new Thread();
  const queue = new RequestQueue(thread.start);
  const answers = [0, 1, 2, 3].map((state) => outcome(queue.send(release(state))));
  assert.equal(
    thread.given.map(({ state }) => state),
    [0, 1],
  );
  thread.given[0]!.answer();
  await turn();
  assert.equal(
    thread.given.map(({ state }) => state),
    [0, 1, 2],
  );
  thread.given[1]!.fail(new Error('bad_alloc in Gemm_12'));
  await turn();
  assert.is(thread.given.length, 4);
  for (const { answer } of thread.given.slice(2)) answer();
  const [first, second, ...rest] = await Promise.all(answers);
  assert.is(first, 0);
  // the runtime's own words mention a graph that no user wrote
  assert.match(String(second), /ONNX Runtime \(CPU\): it ran out of memory/);
  assert.not.match(String(second), /bad_alloc|Gemm/);
  assert.equal(rest, [2, 3]);
});

test('given up while it waits it never reaches the thread; while it runs the thread is told; the reason comes back at once', async () => {
  const thread = new Thread();
  const queue = new RequestQueue(thread.start);
  const controllers = [0, 1, 2].map(() => new AbortController());
  const answers = controllers.map(({ signal }, state) => outcome(queue.send(release(state), signal)));
  const last = outcome(queue.send(release(3)));
  controllers[2]!.abort('waited too long');
  controllers[0]!.abort('ran too long');
  assert.equal(await Promise.all([answers[0], answers[2]]), ['ran too long', 'waited too long']);
  assert.equal(
    thread.given.map(({ cancelled }) => cancelled),
    [true, false],
  );
  thread.given[0]!.fail(new Error('terminated'));
  thread.given[1]!.answer();
  await turn();
  assert.equal(
    thread.given.map(({ state }) => state),
    [0, 1, 3],
  );
  thread.given[2]!.answer();
  assert.equal([await answers[1], await last], [1, 3]);
  // after the answer the signal means nothing
  controllers[1]!.abort();
  assert.is(thread.given[1]!.cancelled, false);
  assert.is(await outcome(queue.send(release(9), AbortSignal.abort('before'))), 'before');
  assert.is(thread.given.length, 3);
});

test('what waits is rejected on closing, what runs is not; a thread that refuses says so', async () => {
  const thread = new Thread();
  const queue = new RequestQueue(thread.start);
  const answers = [0, 1, 2].map((state) => outcome(queue.send(release(state))));
  queue.rejectWaiting(new Error('closed'));
  for (const { answer } of thread.given) answer();
  assert.equal(await Promise.all(answers), [0, 1, 'Error: closed']);
  const refusing = new RequestQueue(() => {
    throw new Error('the runtime has ended');
  });
  const refused: { code?: string; cause?: unknown; message: string } = await refusing.send(release(0)).then(
    () => assert.unreachable('it refuses'),
    (error) => error,
  );
  assert.is(refused.code, 'RUNTIME_FAILED');
  assert.match(refused.message, /ONNX Runtime \(CPU\): an operation failed/);
  assert.match(String(refused.cause), /the runtime has ended/);
});

test.run();
