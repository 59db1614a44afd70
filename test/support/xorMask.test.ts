import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadAddon } from '../../lib/binding.ts';
import { type XorMask, xorByWords, xorMask } from '../../lib/support/xorMask.ts';

const test = suite('xorMask');

const ways: readonly [string, XorMask][] = [
  ['chosen', xorMask],
  ['by words', xorByWords],
  [
    'addon',
    (bytes, key, place = 0) => {
      const shift = (place & 3) * 8;
      loadAddon().xorMask(bytes, (key >>> shift) | (key << (32 - shift)));
    },
  ],
];

test('what the standard says, at every place of memory, of the payload and of every length', () => {
  const mask = Buffer.from([0x9d, 0x00, 0xfe, 0x37]);
  const key = mask.readUInt32LE(0);
  const memory = Buffer.from(new ArrayBuffer(128));
  for (let offset = 0; offset < 9; offset++) {
    for (let place = 0; place < 5; place++) {
      for (let length = 0; length < 70; length++) {
        for (let i = 0; i < memory.length; i++) memory[i] = (i * 37) & 0xff;
        const before = Buffer.from(memory);
        const wanted = before.map((byte, i) => {
          const inside = i >= offset && i < offset + length;
          return inside ? byte ^ mask[(i - offset + place) & 3]! : byte;
        });
        for (const [name, xor] of ways) {
          before.copy(memory);
          xor(memory.subarray(offset, offset + length), key, place);
          assert.ok(memory.equals(wanted), `${name}: offset ${offset}, place ${place}, length ${length}`);
        }
      }
    }
  }
});

test('a message in pieces comes out as in one, and twice is as before', () => {
  const bytes = Buffer.from(Array.from({ length: 9001 }, (_, i) => (i * i) & 0xff));
  const [whole, pieces] = [Buffer.from(bytes), Buffer.from(bytes)];
  xorMask(whole, 0xdeadbeef);
  for (let at = 0, size = 1; at < pieces.length; at += size, size = 1 + ((size * 7) % 997)) {
    xorMask(pieces.subarray(at, at + size), 0xdeadbeef, at);
  }
  const words = Buffer.from(bytes);
  xorByWords(words, 0xdeadbeef);
  assert.ok(words.equals(whole));
  assert.ok(pieces.equals(whole));
  assert.not.ok(whole.equals(bytes));
  xorMask(whole, 0xdeadbeef);
  assert.ok(whole.equals(bytes));
});

test.run();
