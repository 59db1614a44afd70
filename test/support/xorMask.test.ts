import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { xorMask } from '../../lib/support/xorMask.ts';

const test = suite('xorMask');

test('what the standard says, at every place of memory, of the payload and of every length', () => {
  const mask = Buffer.from([0x9d, 0x00, 0xfe, 0x37]);
  const key = mask.readUInt32LE(0);
  const memory = Buffer.from(new ArrayBuffer(128));
  for (let offset = 0; offset < 9; offset++) {
    for (let place = 0; place < 5; place++) {
      for (let length = 0; length < 70; length++) {
        for (let i = 0; i < memory.length; i++) memory[i] = (i * 37) & 0xff;
        const before = Buffer.from(memory);
        xorMask(memory.subarray(offset, offset + length), key, place);
        for (let i = 0; i < memory.length; i++) {
          const inside = i >= offset && i < offset + length;
          const wanted = inside ? before[i]! ^ mask[(i - offset + place) & 3]! : before[i]!;
          assert.is(memory[i], wanted, `offset ${offset}, place ${place}, length ${length}, byte ${i}`);
        }
      }
    }
  }
});

test('a message in pieces comes out as in one, and twice is as before', () => {
  const bytes = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * i) & 0xff));
  const [whole, pieces] = [Buffer.from(bytes), Buffer.from(bytes)];
  xorMask(whole, 0xdeadbeef);
  for (let at = 0, size = 1; at < pieces.length; at += size, size = 1 + ((size * 7) % 97)) {
    xorMask(pieces.subarray(at, at + size), 0xdeadbeef, at);
  }
  assert.equal(pieces, whole);
  assert.not.equal(whole, bytes);
  xorMask(whole, 0xdeadbeef);
  assert.equal(whole, bytes);
});

test.run();
