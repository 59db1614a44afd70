/** The two readers of untrusted bytes: properties, and a corpus of malicious messages. */

import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type JsonValue, parseJsonBytes } from '../../lib/serve/jsonBytes.ts';
import { decodeActRequest, decodeJsonNumpy, encodeArray } from '../../lib/serve/jsonNumpy.ts';
import { decodeMsgpackMap, decodeMsgpackNumpy, encodeMsgpackNumpy } from '../../lib/serve/msgpackNumpy.ts';
import { NdArray, type WireValue } from '../../lib/serve/ndarray.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { hostileJson, hostileMsgpack } from './hostile.ts';

const test = suite('wire formats');

/** Bounded for CI; test/serve/fuzz.ts runs as long as it is told to. */
const runs = { numRuns: 300 };

/** What the reader must agree on: the value, or that there is none. */
function plain(value: JsonValue): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [key, plain(item)]));
  return typeof value === 'object' && value !== null ? value.toString() : value;
}

/** Fails with `name` when `act` does not throw the code. */
function refused(act: () => unknown, name: string): void {
  try {
    act();
  } catch (error) {
    assert.instance(error, SemanticVlaError);
    assert.is((error as SemanticVlaError).code, 'REQUEST_INVALID', name);
    return;
  }
  throw new Error(`${name}: it was accepted`);
}

test('JSON reads as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), fc.nat({ max: 2 }), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      const wanted = JSON.parse(text) as unknown;
      if (text.includes('"__proto__"')) return;
      assert.equal(plain(parseJsonBytes(Buffer.from(text))), wanted);
    }),
    runs,
  );
});

test('what JSON.parse refuses is refused, and nothing else is thrown', () => {
  const almost = fc
    .tuple(
      fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.stringify(value)),
      fc.nat(),
      fc.constantFrom('', '"', '\\', '{', ']', ',', '0', 'e', '\u0000', '\ud800', ':', ' ', '-', '.'),
    )
    .map(([text, at, inserted]) => {
      const place = at % (text.length + 1);
      return text.slice(0, place) + inserted + text.slice(place + (at % 2));
    });
  fc.assert(
    fc.property(almost, (text) => {
      const bytes = Buffer.from(text);
      let wanted: unknown;
      let valid = true;
      try {
        wanted = JSON.parse(bytes.toString());
      } catch {
        valid = false;
      }
      try {
        const found = plain(parseJsonBytes(bytes));
        assert.ok(valid, `accepted ${JSON.stringify(text)}`);
        assert.equal(found, wanted);
      } catch (error) {
        if (!(error instanceof SemanticVlaError)) throw error;
        // Duplicate keys and __proto__ are JSON, and refused on purpose.
        assert.ok(
          !valid || /each key once|plain keys/.test(error.message),
          `refused ${JSON.stringify(text)}`,
        );
      }
    }),
    runs,
  );
});

test('escapes undone in place are what JSON.parse makes of them', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.boolean(), (text, ascii) => {
      let literal = JSON.stringify(text);
      if (ascii)
        literal = literal.replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
      const found = parseJsonBytes(Buffer.from(literal));
      assert.ok(typeof found === 'object' && found !== null && 'raw' in found);
      assert.is(found.unescapeInPlace().toString(), text.toWellFormed());
    }),
    runs,
  );
});

const arrays = fc
  .tuple(fc.constantFrom('|u1', '<f4', '<f8', '<i8'), fc.array(fc.nat({ max: 4 }), { maxLength: 3 }))
  .chain(([dtype, shape]) => {
    const bytes = shape.reduce((a, b) => a * b, Number(dtype[2]));
    return fc
      .uint8Array({ minLength: bytes, maxLength: bytes })
      .map((data) => new NdArray(dtype, shape, new Uint8Array(data)));
  });

function same(a: WireValue, b: NdArray): void {
  assert.instance(a, NdArray);
  const found = a as NdArray;
  assert.equal([found.dtype, found.shape, [...found.data]], [b.dtype, b.shape, [...b.data]]);
}

test('arrays survive both formats', () => {
  fc.assert(
    fc.property(arrays, (array) => {
      same(decodeJsonNumpy(Buffer.from(encodeArray(array, 'spaced'))), array);
      same(decodeMsgpackNumpy(encodeMsgpackNumpy(array)), array);
    }),
    runs,
  );
});

test('any bytes: a typed refusal or a value', () => {
  const message = encodeMsgpackNumpy(
    new Map<string, WireValue>([['image', new NdArray('|u1', [2, 2, 3], new Uint8Array(12))]]),
  );
  const flipped = fc.tuple(fc.nat({ max: message.length - 1 }), fc.nat({ max: 255 })).map(([at, byte]) => {
    const copy = Buffer.from(message);
    copy[at] = byte;
    return copy;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 64 }), flipped), (bytes) => {
      for (const read of [decodeMsgpackNumpy, decodeJsonNumpy]) {
        try {
          read(Buffer.from(bytes));
        } catch (error) {
          if (!(error instanceof SemanticVlaError)) throw error;
        }
      }
    }),
    runs,
  );
});

test('the corpus: lying lengths, deep nesting, headers that lie, base64 garbage, __proto__', () => {
  const keys = ['full_image', 'a', 'state', 'images', 'encoded'];
  for (const [name, body] of hostileJson()) {
    // Only requested fields are decoded, so all of them are requested.
    refused(() => {
      const { fields } = decodeActRequest(Buffer.from(body));
      for (const key of keys) fields.find(key);
    }, name);
  }
  for (const [name, bytes] of hostileMsgpack()) refused(() => decodeMsgpackMap(bytes), name);
  assert.is((Object.prototype as { polluted?: unknown }).polluted, undefined);
});

test.run();
