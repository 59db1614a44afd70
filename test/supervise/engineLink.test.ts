import { EventEmitter } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import type { Socket } from 'node:net';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EngineLink, type LinkOptions } from '../../lib/supervise/engineLink.ts';
import type { WireArray } from '../../lib/supervise/engineMessages.ts';
import { createSharedFile } from '../../lib/supervise/sharedFile.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';

const test = suite('engine link');

/** The socket's two calls and one event that a link uses. */
class FakeSocket extends EventEmitter {
  readonly written: Buffer[] = [];
  destroyed = false;
  write(bytes: Buffer): void {
    this.written.push(bytes);
  }
  destroy(): void {
    this.destroyed = true;
  }
}

interface Got {
  readonly message: unknown;
  readonly arrays: readonly WireArray[];
}

function ends(fd: number | null) {
  const [there, here] = [new FakeSocket(), new FakeSocket()];
  const got: Got[] = [];
  const broken: Error[] = [];
  const options = (side: LinkOptions['side']): LinkOptions => ({ sharedFd: fd, side });
  const sender = new EngineLink<unknown, unknown>(
    there as unknown as Socket,
    options('supervisor'),
    () => {},
    () => {},
  );
  new EngineLink<unknown, unknown>(
    here as unknown as Socket,
    options('engine'),
    // the engine's arrays are reused for the next message
    (message, arrays) => got.push({ message, arrays: arrays.map((array) => array.slice()) }),
    (error) => broken.push(error),
  );
  return { sender, there, here, got, broken };
}

const anyArray = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.int32Array({ maxLength: 9 }),
  fc.float32Array({ maxLength: 9, noNaN: true }),
  fc.float64Array({ maxLength: 9, noNaN: true }),
) as fc.Arbitrary<WireArray>;

for (const transport of ['pipe', 'shared'] as const) {
  test(`${transport}: messages arrive whole and unchanged, however the socket cuts them`, () => {
    const fd = transport === 'shared' ? createSharedFile() : null;
    try {
      fc.assert(
        fc.property(
          fc.array(fc.tuple(fc.json(), fc.array(anyArray, { maxLength: 4 })), { minLength: 1, maxLength: 4 }),
          fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 20 }),
          (messages, cuts) => {
            const { sender, there, here, got, broken } = ends(fd);
            for (const [text, arrays] of messages) {
              sender.send({ text }, arrays);
              // one at a time, as the shared half is written anew by the next
              const bytes = Buffer.concat(there.written.splice(0));
              for (let at = 0, i = 0; at < bytes.length; i++) {
                const n = cuts[i % cuts.length]!;
                here.emit('data', bytes.subarray(at, at + n));
                at += n;
              }
            }
            assert.equal(broken, []);
            assert.equal(
              got.map(({ message }) => message),
              messages.map(([text]) => ({ text })),
            );
            for (const [i, { arrays }] of got.entries()) {
              // -0 and types too: bytes are compared
              const flat = (list: readonly WireArray[]) =>
                list.map((a) => [
                  a.constructor.name,
                  Buffer.from(a.buffer, a.byteOffset, a.byteLength).toString('hex'),
                ]);
              assert.equal(flat(arrays), flat(messages[i]![1]));
            }
          },
        ),
        { numRuns: 60 },
      );
    } finally {
      if (fd !== null) closeSync(fd);
    }
  });
}

/** Sends over shared memory, delivers at once, and keeps what was delivered as it is. */
function pair(fd: number, from: LinkOptions['side'], fdOfSender = fd) {
  const [there, here] = [new FakeSocket(), new FakeSocket()];
  const got: Got[] = [];
  const [sender, receiver] = (
    [
      [there, from, fdOfSender],
      [here, from === 'engine' ? 'supervisor' : 'engine', fd],
    ] as const
  ).map(
    ([socket, side, sharedFd]) =>
      new EngineLink<unknown, unknown>(
        socket as unknown as Socket,
        { sharedFd, side },
        (message, arrays) => got.push({ message, arrays }),
        (error) => {
          throw error;
        },
      ),
  );
  assert.ok(receiver);
  const deliver = (): void => {
    for (const bytes of there.written.splice(0)) here.emit('data', bytes);
  };
  return { sender: sender!, there, got, deliver };
}

test('shared: the supervisor keeps what it was given, the engine until its next call', () => {
  for (const from of ['engine', 'supervisor'] as const) {
    const fd = createSharedFile();
    try {
      const { sender, got, deliver } = pair(fd, from);
      for (const value of [1, 2]) {
        sender.send(value, [new Uint8Array(100_000).fill(value)]);
        deliver();
        assert.ok((got.at(-1)!.arrays[0] as Uint8Array).every((byte) => byte === value));
      }
      assert.is(got[0]!.arrays[0]![0], from === 'engine' ? 1 : 2);
    } finally {
      closeSync(fd);
    }
  }
});

test('shared: large arrays wake the other side first; a message that finds no room is none', () => {
  const fd = createSharedFile();
  // not open for writing, so that nothing can be written
  const readOnly = openSync(`/proc/self/fd/${fd}`, 'r');
  try {
    const { sender, there, got, deliver } = pair(fd, 'engine', readOnly);
    for (const length of [10, 100_000]) {
      const send = (): void => sender.send({ length }, [new Uint8Array(length)]);
      assert.throws(send, (error: SemanticVlaError) => error.code === 'RUNTIME_FAILED');
      assert.is(there.written.length, length === 10 ? 0 : 2);
      deliver();
      assert.equal(got, []);
    }
    sender.send('next', []);
    deliver();
    assert.equal(
      got.map(({ message }) => message),
      ['next'],
    );
  } finally {
    closeSync(readOnly);
    closeSync(fd);
  }
});

test('several messages in one read, without arrays', () => {
  const { sender, there, here, got } = ends(null);
  for (let i = 0; i < 5; i++) sender.send(i, []);
  here.emit('data', Buffer.concat(there.written));
  assert.equal(
    got.map(({ message }) => message),
    [0, 1, 2, 3, 4],
  );
});

test('what is no frame breaks the link and nothing else', () => {
  const lying = Buffer.alloc(8);
  lying.writeUInt32LE(2 ** 31, 0);
  const noJson = Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
  for (const bytes of [lying, Buffer.alloc(8), noJson]) {
    const { here, broken, got } = ends(null);
    here.emit('data', bytes);
    assert.is(broken.length, 1);
    assert.is(here.destroyed, true);
    assert.equal(got, []);
  }
});

test.run();
