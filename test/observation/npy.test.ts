import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { npyNumbers, parseNpy } from '../../lib/observation/npy.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { failure } from './errorCode.ts';

const npy = suite('observation/npy');

/** A file as numpy.save writes it; `header` and lengths can lie. */
function npyFile(
  header: string,
  data: Uint8Array,
  { version = 1, headerLength }: { version?: number; headerLength?: number } = {},
): Uint8Array {
  const start = version === 1 ? 10 : 12;
  const padded = `${header.padEnd(Math.ceil((start + header.length + 1) / 64) * 64 - start - 1)}\n`;
  const head = Buffer.alloc(start);
  head.write('\x93NUMPY', 'latin1');
  head[6] = version;
  if (version === 1) head.writeUInt16LE(headerLength ?? padded.length, 8);
  else head.writeUInt32LE(headerLength ?? padded.length, 8);
  return Buffer.concat([head, Buffer.from(padded, 'latin1'), data]);
}

const headerOf = (descr: string, shape: readonly number[], fortran = false) =>
  `{'descr': '${descr}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`;

const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

npy('reads every type, in versions 1 to 3', () => {
  const arrays = {
    '|u1': new Uint8Array([0, 255]),
    '|b1': new Uint8Array([0, 1]),
    '|i1': new Int8Array([-128, 127]),
    '<u2': new Uint16Array([1, 65535]),
    '<i2': new Int16Array([-32768, 5]),
    '<u4': new Uint32Array([1, 4294967295]),
    '<i4': new Int32Array([-5, 7]),
    '<u8': new BigUint64Array([1n, 2n]),
    '<i8': new BigInt64Array([-1n, 2n]),
    '<f4': new Float32Array([0.5, -1e30]),
    '<f8': new Float64Array([Math.PI, -1e300]),
  };
  for (const version of [1, 2, 3]) {
    for (const [descr, data] of Object.entries(arrays)) {
      const array = parseNpy(npyFile(headerOf(descr, [2]), bytesOf(data), { version }), 'x.npy');
      assert.is(array.dtype, descr);
      assert.equal(array.shape, [2]);
      assert.equal(array.data, data);
      assert.equal([...npyNumbers(array)], [...data].map(Number));
    }
  }
});

npy('any shape of float64 comes back, in C and in Fortran order', () => {
  const shapes = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 });
  fc.assert(
    fc.property(shapes, fc.boolean(), (shape, fortran) => {
      const count = shape.reduce((a, b) => a * b, 1);
      const rowMajor = Float64Array.from({ length: count }, (_, i) => i);
      const stored = fortran ? columnMajor(rowMajor, shape) : rowMajor;
      const array = parseNpy(npyFile(headerOf('<f8', shape, fortran), bytesOf(stored)), 'x.npy');
      assert.equal(array.shape, shape);
      assert.equal(array.data, rowMajor);
    }),
  );
});

/** Row-major to column-major, by the definition. */
function columnMajor(data: Float64Array, shape: readonly number[]): Float64Array {
  const out = new Float64Array(data.length);
  for (let i = 0; i < data.length; i++) {
    let rest = i;
    const index = shape.map(() => 0);
    for (let d = shape.length - 1; d >= 0; d--) {
      index[d] = rest % shape[d]!;
      rest = Math.floor(rest / shape[d]!);
    }
    out[index.reduceRight((at, value, d) => at * shape[d]! + value, 0)] = data[i]!;
  }
  return out;
}

npy('headers that lie are refused by name', async () => {
  const eight = new Uint8Array(8);
  const good = npyFile(headerOf('|u1', [8]), eight);
  const cases: Record<string, Uint8Array> = {
    empty: new Uint8Array(0),
    'magic only': good.subarray(0, 6),
    'not numpy': Buffer.from('PK\x03\x04 and some more bytes'),
    'version 0': Buffer.from(good).fill(0, 6, 7),
    'version 9': Buffer.from(good).fill(9, 6, 7),
    'cut in the header': good.subarray(0, 40),
    'cut in the data': good.subarray(0, good.length - 1),
    'bytes after the data': Buffer.concat([good, eight]),
    'header length past the end': npyFile(headerOf('|u1', [8]), eight, { headerLength: 9999 }),
    'header length of 4 GB': npyFile(headerOf('|u1', [8]), eight, { version: 2, headerLength: 0xffffffff }),
    'header length 0': npyFile(headerOf('|u1', [8]), eight, { headerLength: 0 }),
    'overflowing shape': npyFile(headerOf('<f8', [2 ** 31, 2 ** 31, 2 ** 31]), eight),
    'overflow to zero': npyFile(headerOf('|u1', [2 ** 32, 2 ** 32, 8]), eight),
    'negative size': npyFile(headerOf('|u1', [-8, -1]), eight),
    'fractional size': npyFile(headerOf('|u1', [8.5]), eight),
    'huge size': npyFile(`{'descr': '|u1', 'fortran_order': False, 'shape': (${'9'.repeat(400)},), }`, eight),
    'hundred dimensions': npyFile(headerOf('|u1', Array(100).fill(1)), new Uint8Array(1)),
    'shape is a number': npyFile("{'descr': '|u1', 'fortran_order': False, 'shape': (8), }", eight),
    'pickled objects': npyFile(headerOf('|O', [1]), eight),
    'structured type': npyFile("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (8,), }", eight),
    'big-endian': npyFile(headerOf('>f8', [1]), eight),
    'text type': npyFile(headerOf('<U2', [1]), eight),
    'prototype name as type': npyFile(headerOf('constructor', [1]), eight),
    'missing key': npyFile("{'descr': '|u1', 'shape': (8,), }", eight),
    'repeated key': npyFile(
      "{'descr': '|u1', 'descr': '<f8', 'fortran_order': False, 'shape': (8,), }",
      eight,
    ),
    'extra key': npyFile("{'descr': '|u1', 'fortran_order': False, 'shape': (8,), 'x': 'y', }", eight),
    'code in the header': npyFile("__import__('os').system('true')", eight),
    'no header': npyFile('', eight),
  };
  for (const [name, bytes] of Object.entries(cases)) {
    const { code, message } = await failure(() => parseNpy(bytes, 'state.npy'));
    assert.is(code, 'NPY_INVALID', name);
    assert.match(message, /^state\.npy: expected .+, found .+/, name);
  }
});

npy('whatever the bytes, the answer is an array of the claimed size or NPY_INVALID', () => {
  const good = npyFile(headerOf('<i2', [2, 2]), new Uint8Array(8));
  const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), fc.nat(good.length), (changes, cut) => {
      const bytes = Buffer.from(good);
      for (const [at, value] of changes) bytes[at] = value;
      try {
        const array = parseNpy(bytes.subarray(0, cut % 3 === 0 ? cut : good.length), 'x.npy');
        assert.is(
          array.data.length,
          array.shape.reduce((a, b) => a * b, 1),
        );
      } catch (error) {
        assert.instance(error, SemanticVlaError);
        assert.is((error as SemanticVlaError).code, 'NPY_INVALID');
      }
    }),
    { numRuns: 2000 },
  );
});

npy.run();
