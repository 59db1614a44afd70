import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { crc32, tableCrc32 } from '../../lib/checkpoint/crc32.ts';

const test = suite('crc32');

for (const [name, crc] of [
  ['native or table', crc32],
  ['table', tableCrc32],
] as const) {
  test(`${name}: check value and any cut`, () => {
    // The check value of CRC-32/ISO-HDLC.
    assert.is(crc(Buffer.from('123456789')), 0xcbf43926);
    assert.is(crc(new Uint8Array()), 0);
    const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 31) & 255);
    for (const cut of [0, 1, 7, 8, 9, 500, 999, 1000])
      assert.is(crc(bytes.subarray(cut), crc(bytes.subarray(0, cut))), crc32(bytes));
  });
}

test.run();
