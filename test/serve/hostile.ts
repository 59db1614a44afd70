/** A corpus of malicious messages; each must be refused with REQUEST_INVALID and cost no more memory than its own length. */

const pixels = Buffer.alloc(12, 7).toString('base64');

function array(fields: Record<string, unknown>): string {
  return JSON.stringify({ full_image: { __numpy__: pixels, dtype: '|u1', shape: [2, 2, 3], ...fields } });
}

/** Bodies of `POST /act`, with what is wrong with them. */
export function hostileJson(): [string, string | Buffer][] {
  return [
    ['nothing', ' '],
    ['not JSON', 'full_image=1'],
    ['no object', '[1]'],
    ['cut off', '{"state": [1, 2'],
    ['bytes behind it', '{} {}'],
    ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['deep arrays', `{"a": ${'['.repeat(100_000)}`],
    ['deep objects', '{"a":'.repeat(100_000)],
    ['many values', `{"a": [${'0,'.repeat(1_000_000)}0]}`],
    ['a long key', `{"${'k'.repeat(100_000)}": 1}`],
    ['a long text', `{"a": "${'t'.repeat(100_000)}"}`],
    ['a long number', `{"a": ${'1'.repeat(100_000)}}`],
    ['NaN', '{"state": [NaN]}'],
    ['__proto__', '{"__proto__": {"polluted": 1}}'],
    ['__proto__, escaped', '{"\\u005f_proto__": {"polluted": 1}}'],
    ['__proto__ inside', '{"images": {"__proto__": {"polluted": 1}}}'],
    ['a key twice', '{"state": [1], "state": [2]}'],
    ['backslashes only', `{"a": "${'\\"'.repeat(100_000)}`],
    ['base64 garbage', array({ __numpy__: '!!!!!!!!!!!!!!!!' })],
    ['base64 with a gap', array({ __numpy__: 'AAAA AAAAAAAAAAA' })],
    ['base64 padded early', array({ __numpy__: 'AA==AAAAAAAAAAAA' })],
    ['base64 too short', array({ __numpy__: 'AAAA' })],
    ['base64 too long', array({ __numpy__: `${pixels}AAAA` })],
    ['base64 that is a number', array({ __numpy__: 5 })],
    ['base64 that is an array', array({ __numpy__: [1] })],
    ['a shape beyond the data', array({ shape: [2 ** 40, 2, 3] })],
    ['a shape beyond numbers', array({ shape: [2 ** 40, 2 ** 40, 3] })],
    ['a negative shape', array({ shape: [-2, -2, 3] })],
    ['a broken shape', array({ shape: [1.5, 8] })],
    ['a shape of texts', array({ shape: ['2', '2', '3'] })],
    ['no shape', array({ shape: undefined })],
    ['many dimensions', array({ shape: Array.from({ length: 64 }, () => 1) })],
    ['an object dtype', array({ dtype: '|O' })],
    ['a structured dtype', array({ dtype: [['f0', '<f8']] })],
    ['a big-endian dtype', array({ dtype: '>f8' })],
    ['a dtype of the prototype', array({ dtype: 'constructor' })],
    ['a huge string dtype', array({ dtype: '<U4294967295' })],
    ['encoded, not alone', '{"encoded": "{}", "state": [1]}'],
    ['encoded, not text', '{"encoded": {}}'],
    ['encoded, not JSON', '{"encoded": "pick up"}'],
    ['encoded, a bad escape', '{"encoded": "{\\x}"}'],
    ['encoded, no object', '{"encoded": "[1]"}'],
    ['encoded, deep', JSON.stringify({ encoded: '['.repeat(100_000) })],
  ];
}

function bytes(...parts: (number | string | Buffer)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part))));
}

/** `bin8` of a short text. */
function bin(text: string): Buffer {
  return bytes(0xc4, text.length, text);
}

function ndarray(data: Buffer, dtype: Buffer, shape: Buffer): Buffer {
  const fields = bytes(bin('__ndarray__'), 0xc3, bin('data'), data, bin('dtype'), dtype, bin('shape'), shape);
  return bytes(0x81, 0xa1, 'a', 0x84, fields);
}

const four = bytes(0xc4, 4, 'abcd');
const u1 = bytes(0xa3, '|u1');

/** openpi messages, with what is wrong with them. */
export function hostileMsgpack(): [string, Buffer][] {
  const max = Buffer.from([0xff, 0xff, 0xff, 0xff]);
  const millions = Buffer.from([0x01, 0xc9, 0xc3, 0x80]);
  return [
    ['nothing', Buffer.alloc(0)],
    ['no map', bytes(0x01)],
    ['bytes behind it', bytes(0x80, 0x80)],
    ['bin32 that claims 4 GB', bytes(0x81, 0xa1, 'a', 0xc6, max)],
    ['str32 that claims 4 GB', bytes(0x81, 0xa1, 'a', 0xdb, max)],
    ['array32 that claims 4 G items', bytes(0x81, 0xa1, 'a', 0xdd, max)],
    ['array32 that claims 30 M items', bytes(0x81, 0xa1, 'a', 0xdd, millions)],
    ['map32 that claims 30 M entries', bytes(0xdf, millions)],
    [
      '30 M arrays in one another, each of 30 M',
      bytes(...Array.from({ length: 16 }, () => bytes(0xdd, millions))),
    ],
    ['array16 with real items, too many', bytes(0x81, 0xa1, 'a', 0xdc, 0xff, 0xff, Buffer.alloc(65535))],
    ['deep arrays', bytes(0x81, 0xa1, 'a', Buffer.alloc(100_000, 0x91))],
    ['deep maps', Buffer.alloc(100_000, 0x81)],
    ['the type that is never used', bytes(0x81, 0xa1, 'a', 0xc1)],
    ['a record definition', bytes(0xd4, 0x72, 0x40, 0x91, 0xa1, 'a', 0x01)],
    ['an extension', bytes(0x81, 0xa1, 'a', 0xc7, 1, 5, 0)],
    ['a timestamp', bytes(0x81, 0xa1, 'a', 0xd6, 0xff, Buffer.alloc(4))],
    ['one key as text and as bytes', bytes(0x82, 0xa1, 'a', 1, bin('a'), 2)],
    ['a number as key', bytes(0x81, 1, 1)],
    ['a map as key', bytes(0x81, 0x80, 1)],
    ['__proto__', bytes(0x81, 0xa9, '__proto__', 0x80)],
    ['__proto__ in bytes', bytes(0x81, bin('__proto__'), 0x80)],
    ['an array of other bytes', ndarray(four, u1, bytes(0x91, 5))],
    ['an array of more than numbers', ndarray(four, u1, bytes(0x92, 0xcf, max, max, 0xcf, max, max))],
    ['an array of negative shape', ndarray(four, u1, bytes(0x92, 0xfe, 0xfe))],
    ['an array of objects', ndarray(four, bytes(0xa2, '|O'), bytes(0x91, 4))],
    ['an array without data', ndarray(bytes(0xc0), u1, bytes(0x91, 0))],
    ['a scalar of objects', bytes(0x82, bin('__npgeneric__'), 0xc3, bin('data'), 0x80)],
    ['cut off', ndarray(four, u1, bytes(0x91, 4)).subarray(0, -1)],
  ];
}
