/** `.npy` files, format version 1.0 (numpy.lib.format): magic, header length, a Python dict, padded to 64 bytes. */

/** @param shape of `values`, row-major; `<f8` or `|u1` */
export function encodeNpy(values: Float64Array | Uint8Array, shape: readonly number[]): Buffer {
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const dict = `{'descr': '${values instanceof Uint8Array ? '|u1' : '<f8'}', 'fortran_order': False, 'shape': (${dims}), }`;
  const preamble = 10;
  const length = Math.ceil((preamble + dict.length + 1) / 64) * 64 - preamble;
  const head = Buffer.alloc(preamble, '\x93NUMPY\x01\x00', 'latin1');
  head.writeUInt16LE(length, 8);
  const body = values instanceof Uint8Array ? values : doubles(values);
  return Buffer.concat([head, Buffer.from(`${dict.padEnd(length - 1)}\n`, 'latin1'), body]);
}

function doubles(values: Float64Array): Buffer {
  const bytes = Buffer.alloc(values.length * 8);
  for (const [i, value] of values.entries()) bytes.writeDoubleLE(value, i * 8);
  return bytes;
}
