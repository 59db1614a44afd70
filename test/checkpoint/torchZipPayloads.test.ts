/** Archives that lie about their entries: each refused by name, whatever the pickle inside says. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readTorchArchive } from '../../lib/checkpoint/torchArchive.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { change, invalid, type Payload, requireRefused, valid } from './payloads.ts';
import { fourFloats, slowCrc32, torchArchive, zip } from './zipAssembler.ts';

const test = suite('hostile ZIP archives');

const payloads: readonly Payload[] = [
  // the archive around it
  invalid('compressed pickle', change('data.pkl', { method: 8 }), /compressed/),
  invalid('compressed data', change('data/0', { method: 8 }), /compressed/),
  invalid('encrypted entry', change('data/0', { flags: 0x801 }), /encrypted/),
  invalid('strong encryption flag', change('data/0', { flags: 0x840 }), /flags/),
  invalid('wrong CRC of the pickle', change('data.pkl', { crc: 1 }), /CRC/),
  invalid('wrong CRC in one header', change('data/0', { localCrc: 1 }), /CRC/),
  invalid('wrong size in the local header', change('data/0', { localSize: 12 }), /sizes/),
  invalid('two sizes for a stored entry', change('data/0', { centralCompressedSize: 8 }), /two sizes/),
  invalid(
    'size past the end',
    change('data/0', { centralSize: 0x10000000, localSize: 0x10000000 }),
    /runs into/,
  ),
  invalid('offset past the end', change('data/0', { centralOffset: 0x7fffffff }), /outside/),
  invalid('another name in the local header', change('data/0', { localName: 'archive/data/9' }), /differs/),
  invalid(
    'overlapping entries',
    change('version', { centralOffset: 0, name: 'archive/data.pkl2', localName: 'archive/data.pkl' }),
    /differs|overlap/,
  ),
  invalid('one body, two entries', overlapping, /overlap/),
  invalid(
    'parent path',
    { edit: (parts) => [...parts, { name: 'archive/../../etc/passwd', data: fourFloats }] },
    /unsafe/,
  ),
  invalid(
    'absolute path',
    { edit: (parts) => [...parts, { name: '/etc/passwd', data: fourFloats }] },
    /unsafe/,
  ),
  invalid(
    'backslash path',
    { edit: (parts) => [...parts, { name: 'archive\\..\\x', data: fourFloats }] },
    /unsafe/,
  ),
  invalid(
    'NUL in a name',
    { edit: (parts) => [...parts, { name: 'archive/data.pkl\0.txt', data: fourFloats }] },
    /unsafe/,
  ),
  invalid('empty name', { edit: (parts) => [...parts, { name: '', data: fourFloats }] }, /unsafe/),
  invalid('duplicate names', { edit: (parts) => [...parts, parts[0]!] }, /two entries/),
  invalid(
    'two pickles',
    { edit: (parts) => [...parts, { name: 'other/data.pkl', data: valid }] },
    /one entry/,
  ),
  invalid(
    'no pickle',
    change('data.pkl', { name: 'archive/data.txt', localName: 'archive/data.txt' }),
    /one entry/,
  ),
  invalid(
    'entries outside of the stem',
    { edit: (parts) => [...parts, { name: 'constants.pkl', data: valid }] },
    /outside/,
  ),
  invalid('big endian', { byteorder: 'big' }, /byteorder/),
  invalid('a TorchScript version', { version: '10\n' }, /version/),
  invalid('no version', { version: null }, /version/),
  invalid('ZIP64 count lies', { lies: { zip64: true, zip64Count: 2 ** 40 } }, /central directory/),
  invalid('ZIP64 offset past 2^53', { lies: { zip64: true, zip64Offset: 2n ** 63n } }, /range/),
  invalid('ZIP64 offset lies', { lies: { zip64: true, zip64Offset: 0 } }, /directory/),
  invalid(
    'saturated sizes without a ZIP64 field',
    change('data/0', { centralSize: 0xffffffff, localSize: 0xffffffff }),
    /ZIP64/,
  ),
  invalid('entry count lies', { lies: { count: 3 } }, /more than its entries/),
  invalid('entry count too high', { lies: { count: 9 } }, /broken/),
  invalid('directory size lies', { lies: { directorySize: 10 } }, /directory/),
  invalid('directory offset lies', { lies: { directoryOffset: 5 } }, /directory/),
  invalid('several disks', { lies: { disk: 1 } }, /disks/),
  invalid('an archive comment', { lies: { comment: 'x' } }, /end record/),
  invalid(
    'prepended bytes that shift everything',
    () => Buffer.concat([Buffer.alloc(64, 0x50), torchArchive({ pickle: valid })]),
    /directory/,
  ),
  invalid(
    'a second archive behind',
    () => Buffer.concat([torchArchive({ pickle: valid }), torchArchive({ pickle: valid })]),
    /directory/,
  ),
  invalid('an empty file', () => Buffer.alloc(0), /an empty file/),
  invalid('a text file', () => Buffer.from('not found\n'.repeat(10)), /a server's refusal/),
  invalid('another text', () => Buffer.from('weights\n'.repeat(10)), /end record/),
  invalid('a bare pickle, as torch < 1.6 wrote', () => valid, /end record|too few/),
  invalid('an empty archive', () => zip([]), /one entry/),
];

/** Two names for the same bytes: the second local header lies inside the first entry's data. */
function overlapping(): Buffer {
  const inner = zip([{ name: 'archive/data/1', data: fourFloats }]);
  const data = inner.subarray(0, 30 + 'archive/data/1'.length + fourFloats.length);
  const outerHeader = 30 + 'archive/data/0'.length;
  return torchArchive({
    pickle: valid,
    edit: () => [
      { name: 'archive/data/0', data },
      { name: 'archive/version', data: Buffer.from('3\n') },
      { name: 'archive/data.pkl', data: valid },
      // Its own local header is written too, but the directory points into the first entry.
      { name: 'archive/data/1', data: fourFloats, centralOffset: outerHeader },
    ],
  });
}

test(`${payloads.length} archives are refused by name`, () => requireRefused(payloads));

test('truncated at every point', async () => {
  const whole = torchArchive({ pickle: valid });
  const lengths = Array.from({ length: Math.floor(whole.length / 7) }, (_, i) => 7 * i);
  await requireRefused(lengths.map((length) => invalid(`${length} bytes`, () => whole.subarray(0, length))));
});

test('the assembler itself writes archives that are read', async () => {
  const file = join(scratchFolder(), 'sound.pt');
  writeFileSync(file, torchArchive({ pickle: valid }));
  assert.is((await readTorchArchive(file)).tensors.size, 1);
  // the check value of CRC-32/ISO-HDLC
  assert.is(slowCrc32(Buffer.from('123456789')), 0xcbf43926);
});

test.run();
