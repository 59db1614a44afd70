import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { JsonSyntaxError, parseStrictJson } from '../../lib/checkpoint/strictJson.ts';

const test = suite('strict JSON');

test('repeated keys, also spelled with escapes, at any depth', () => {
  for (const text of [
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"x":[{"a":1,"b":2,"a":3}]}',
    '{"__proto__":1,"__proto__":2}',
  ]) {
    assert.throws(
      () => parseStrictJson(text),
      (error: unknown) => error instanceof JsonSyntaxError && /second time/.test(error.message),
    );
  }
});

test('no prototype: names of inherited properties are only keys', () => {
  const value = parseStrictJson('{"__proto__":{"polluted":true},"constructor":1}') as Record<string, unknown>;
  assert.equal(Object.keys(value), ['__proto__', 'constructor']);
  assert.is((value as { polluted?: boolean }).polluted, undefined);
  assert.is(({} as { polluted?: boolean }).polluted, undefined);
});

test('numbers that JSON has no words for are named', () => {
  for (const text of ['NaN', '-Infinity', '[1, Infinity]']) {
    assert.throws(
      () => parseStrictJson(text),
      (error: unknown) => error instanceof JsonSyntaxError && /not finite/.test(error.message),
    );
  }
});

test('nesting of 65 is too deep, 60 is not', () => {
  assert.ok(Array.isArray(parseStrictJson('['.repeat(60) + ']'.repeat(60))));
  assert.throws(() => parseStrictJson('['.repeat(70) + ']'.repeat(70)), /nesting/);
});

test('escapes, surrogates, every kind of value', () => {
  assert.equal(parseStrictJson(' ["\\ud83e\\udd16\\n\\/", -1.5e-3, true, false, null, [], "é"] '), [
    '🤖\n/',
    -0.0015,
    true,
    false,
    null,
    [],
    'é',
  ]);
});

test.run();
