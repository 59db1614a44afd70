import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeByNode } from '../../lib/addon/base64.ts';
import { loadAddon } from '../../lib/addon/binding.ts';

const test = suite('base64 over itself');

const decoders = { addon: (text: Buffer) => loadAddon().decodeBase64(text), node: decodeByNode };

test('bytes come back, of any length, by either decoder and in either alphabet', () => {
  for (let length = 0; length <= 300; length++) {
    const bytes = Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 73 + length * 31) & 255));
    const standard = bytes.toString('base64');
    for (const text of [standard, standard.replaceAll('+', '-').replaceAll('/', '_')]) {
      for (const [name, decode] of Object.entries(decoders)) {
        const copy = Buffer.from(text, 'latin1');
        assert.is(decode(copy), length, `${name}, ${length}`);
        assert.ok(copy.subarray(0, length).equals(bytes), `${name}, ${length}`);
      }
    }
  }
});

test('one other character, anywhere: not the length that was expected', () => {
  const good = Buffer.from(Buffer.alloc(96, 0x5a).toString('base64'), 'latin1');
  for (let at = 0; at < good.length; at++) {
    for (const byte of [
      0, 0x0a, 0x20, 0x22, 0x2c, 0x2e, 0x3a, 0x3d, 0x40, 0x5b, 0x5c, 0x60, 0x7b, 0x80, 0xab, 0xff,
    ]) {
      for (const [name, decode] of Object.entries(decoders)) {
        const copy = Buffer.from(good);
        copy[at] = byte;
        assert.is.not(decode(copy), 96, `${name}: 0x${byte.toString(16)} at ${at}`);
      }
    }
  }
});

test('both agree on what is base64, whatever it is', () => {
  const characters = fc.constantFrom(...'AZaz09+/-_=', '\n', ' ', '\u00ff', '"');
  const texts = fc.array(fc.oneof({ weight: 20, arbitrary: fc.constantFrom(...'AQgw') }, characters), {
    maxLength: 160,
  });
  fc.assert(
    fc.property(texts, (list) => {
      const text = list.slice(0, list.length - (list.length % 4)).join('');
      const found = Object.values(decoders).map((decode) => {
        const copy = Buffer.from(text, 'latin1');
        const bytes = decode(copy);
        return bytes < 0 ? 'refused' : copy.toString('hex', 0, bytes);
      });
      assert.is(found[0], found[1], JSON.stringify(text));
    }),
    { numRuns: 1000 },
  );
});

test.run();
