import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { float16Bits, lowestFinite, scalarBytes } from '../../lib/graph/halfFloats.ts';
import { toBfloat16 } from '../../lib/support/bfloat16.ts';

const halfFloats = suite('graph/halfFloats');

const bfloat16Bits = (value: number) => toBfloat16(Float32Array.of(value))[0]!;

/** The number that 16 bits of float16 mean, from the definition. */
function float16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  return sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

function bfloat16Value(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;
}

halfFloats('every float16 and bfloat16 comes back as its own bits', () => {
  for (let bits = 0; bits < 65536; bits++) {
    const half = float16Value(bits);
    if (!Number.isNaN(half)) assert.is(float16Bits(half), bits, `float16 ${half}`);
    const brain = bfloat16Value(bits);
    if (!Number.isNaN(brain)) assert.is(bfloat16Bits(brain), bits, `bfloat16 ${brain}`);
  }
});

halfFloats('half way goes to the even neighbour', () => {
  for (let bits = 0; bits < 0x7bff; bits += 7) {
    const middle = (float16Value(bits) + float16Value(bits + 1)) / 2;
    assert.is(float16Bits(middle), bits % 2 === 0 ? bits : bits + 1);
  }
  for (let bits = 0; bits < 0x7f7f; bits += 11) {
    const middle = (bfloat16Value(bits) + bfloat16Value(bits + 1)) / 2;
    assert.is(bfloat16Bits(middle), bits % 2 === 0 ? bits : bits + 1);
  }
});

halfFloats('overflow, NaN and the lowest finite numbers', () => {
  assert.is(float16Bits(65519.99), 0x7bff);
  assert.is(float16Bits(65520), 0x7c00);
  assert.is(float16Bits(-1e9), 0xfc00);
  assert.ok(Number.isNaN(float16Value(float16Bits(Number.NaN))));
  assert.ok(Number.isNaN(bfloat16Value(bfloat16Bits(Number.NaN))));
  assert.is(float16Bits(lowestFinite.float16), 0xfbff);
  assert.is(bfloat16Bits(lowestFinite.bfloat16), 0xff7f);
  assert.is(Math.fround(lowestFinite.float32), lowestFinite.float32);
});

halfFloats('bytes are little-endian', () => {
  assert.equal([...scalarBytes(1, 'bfloat16')], [0x80, 0x3f]);
  assert.equal([...scalarBytes(1, 'float16')], [0x00, 0x3c]);
  assert.equal([...scalarBytes(1, 'float32')], [0, 0, 0x80, 0x3f]);
});

halfFloats.run();
