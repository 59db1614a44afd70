/** Properties of both parsers: what is written is read back; what is damaged is refused or stays within the file. */

import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readTensorBytes } from '../../lib/checkpoint/readTensor.ts';
import { readSafetensors } from '../../lib/checkpoint/safetensors.ts';
import { parseStrictJson } from '../../lib/checkpoint/strictJson.ts';
import { dtypeBytes, type TensorDtype, type TensorView } from '../../lib/checkpoint/tensorView.ts';
import { readTorchArchive } from '../../lib/checkpoint/torchArchive.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { dict, type Part, pickle, tensor } from './pickleAssembler.ts';
import { entry, safetensors } from './safetensorsAssembler.ts';
import { torchArchive } from './zipAssembler.ts';

const test = suite('parser properties');

interface Written {
  readonly name: string;
  readonly dtype: TensorDtype;
  readonly shape: readonly number[];
  readonly bytes: Buffer;
}

const storageTypes: Readonly<Record<TensorDtype, string>> = {
  F64: 'Double',
  F32: 'Float',
  F16: 'Half',
  BF16: 'BFloat16',
  I64: 'Long',
  I32: 'Int',
  I16: 'Short',
  I8: 'Char',
  U8: 'Byte',
  BOOL: 'Bool',
};

/** Up to 6 tensors of any dtype with names unlike each other and at most 64 elements. */
const tensors: fc.Arbitrary<Written[]> = fc
  .uniqueArray(
    fc.record({
      name: fc
        .string({ minLength: 1, maxLength: 12, unit: 'grapheme' })
        .filter((name) => name !== '__metadata__' && name.isWellFormed()),
      dtype: fc.constantFrom(...(Object.keys(dtypeBytes) as TensorDtype[])),
      shape: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 3 }),
      seed: fc.integer({ min: 0, max: 255 }),
    }),
    { selector: ({ name }) => name, minLength: 1, maxLength: 6 },
  )
  .map((list) =>
    list.map(({ name, dtype, shape, seed }) => {
      const length = shape.reduce((product, size) => product * size, dtypeBytes[dtype]);
      return {
        name,
        dtype,
        shape,
        bytes: Buffer.from(Array.from({ length }, (_, i) => (seed + 7 * i) & 0xff)),
      };
    }),
  );

function asSafetensors(list: readonly Written[]): Buffer {
  let at = 0;
  const entries = list.map(({ name, dtype, shape, bytes }) => {
    const value = entry(dtype, shape, at, at + bytes.length);
    at += bytes.length;
    return `${JSON.stringify(name)}:${JSON.stringify(value)}`;
  });
  return safetensors(`{${entries.join(',')}}`, Buffer.concat(list.map(({ bytes }) => bytes)));
}

function asArchive(list: readonly Written[]): Buffer {
  const items: Record<string, Part> = Object.create(null) as Record<string, Part>;
  const data: Record<string, Buffer> = {};
  list.forEach(({ name, dtype, shape, bytes }, i) => {
    items[name] = tensor({
      type: `${storageTypes[dtype]}Storage`,
      key: String(i),
      elements: bytes.length / dtypeBytes[dtype],
      shape,
    });
    data[String(i)] = bytes;
  });
  return torchArchive({ pickle: pickle(dict(items)), data });
}

const formats = [
  { name: 'safetensors', write: asSafetensors, read: readSafetensors },
  { name: 'torch archive', write: asArchive, read: readTorchArchive },
] as const;

function write(format: string, content: Buffer): string {
  const file = join(scratchFolder(), `property-${format.replace(' ', '-')}`);
  writeFileSync(file, content);
  return file;
}

function requireInBounds(file: string, views: Iterable<TensorView>): void {
  const { size } = statSync(file);
  for (const { offset, byteLength, shape, dtype } of views) {
    const elements = shape.reduce((product, dim) => product * dim, 1);
    const isSound =
      offset >= 0 &&
      byteLength > 0 &&
      offset + byteLength <= size &&
      byteLength === elements * dtypeBytes[dtype];
    assert.ok(isSound, `view at ${offset} of ${byteLength} bytes in a file of ${size}`);
  }
}

/** Parses `content`; views within the file or a SemanticVlaError, nothing else. */
async function parsesOrRefuses({ name, read }: (typeof formats)[number], content: Buffer): Promise<void> {
  const file = write(name, content);
  try {
    requireInBounds(file, (await read(file)).tensors.values());
  } catch (error) {
    if (!(error instanceof SemanticVlaError)) throw error;
  }
}

for (const format of formats) {
  test(`${format.name}: what is written is read back`, async () => {
    await fc.assert(
      fc.asyncProperty(tensors, async (list) => {
        const file = write(format.name, format.write(list));
        const { tensors: read } = await format.read(file);
        assert.is(read.size, list.length);
        for (const { name, dtype, shape, bytes } of list) {
          const view = read.get(name)!;
          assert.equal([view.dtype, view.shape], [dtype, shape]);
          assert.ok(bytes.equals(await readTensorBytes(view)));
        }
      }),
      { numRuns: 150 },
    );
  });

  test(`${format.name}: random damage is refused or harmless`, async () => {
    const edits = fc.array(fc.record({ at: fc.nat(), value: fc.integer({ min: 0, max: 255 }) }), {
      minLength: 1,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(tensors, edits, async (list, changes) => {
        const content = Buffer.from(format.write(list));
        for (const { at, value } of changes) content[at % content.length] = value;
        await parsesOrRefuses(format, content);
      }),
      { numRuns: 600 },
    );
  });

  test(`${format.name}: cut, repeated and inserted bytes are refused or harmless`, async () => {
    const cuts = fc.record({
      from: fc.nat(),
      length: fc.integer({ min: 1, max: 64 }),
      insert: fc.uint8Array({ maxLength: 16 }),
    });
    await fc.assert(
      fc.asyncProperty(tensors, cuts, async (list, { from, length, insert }) => {
        const content = format.write(list);
        const at = from % content.length;
        await parsesOrRefuses(
          format,
          Buffer.concat([content.subarray(0, at), insert, content.subarray(at + length)]),
        );
      }),
      { numRuns: 300 },
    );
  });
}

test('pickles of random bytes are refused or harmless', async () => {
  const archive = { name: 'torch archive', write: asArchive, read: readTorchArchive } as const;
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), async (body) => {
      await parsesOrRefuses(
        archive,
        torchArchive({ pickle: Buffer.concat([Buffer.from([0x80, 2]), body, Buffer.from('.')]) }),
      );
    }),
    { numRuns: 600 },
  );
});

test('strict JSON reads what JSON.stringify writes, and refuses what JSON.parse refuses', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
      assert.is(
        JSON.stringify(parseStrictJson(JSON.stringify(value))),
        JSON.stringify(JSON.parse(JSON.stringify(value))),
      );
    }),
    { numRuns: 500 },
  );
  const accepts = (parse: (text: string) => unknown, text: string): boolean => {
    try {
      parse(text);
      return true;
    } catch {
      return false;
    }
  };
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'{}[]",:\\ 0123-+.eEtruefalsn\n\t') }), (text) => {
      if (accepts(parseStrictJson, text)) assert.ok(accepts(JSON.parse, text), text);
    }),
    { numRuns: 3000 },
  );
});

test.run();
