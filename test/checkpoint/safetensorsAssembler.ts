/** Writes safetensors files from any header. Only for tests. */

/** `header`: an object, or the JSON text itself where JSON.stringify could not write it (repeated keys). */
export function safetensors(header: unknown, data: Buffer = Buffer.alloc(0), declared?: bigint): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(declared ?? BigInt(json.length));
  return Buffer.concat([length, json, data]);
}

/** A header entry. */
export function entry(dtype: string, shape: readonly number[], begin: number, end: number) {
  return { dtype, shape, data_offsets: [begin, end] };
}
