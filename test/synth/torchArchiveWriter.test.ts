import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BufferPool } from '../../lib/synth/fileSink.ts';
import type { PlannedTensor } from '../../lib/synth/tensorPlan.ts';
import { tensorBytes } from '../../lib/synth/tensorPlan.ts';
import { writeTorchArchive } from '../../lib/synth/torchArchiveWriter.ts';
import { directoryHeader, endRecords } from '../../lib/synth/zipRecords.ts';
import { readTorchArchive, readZip } from './readFiles.ts';

const test = suite('synth torchArchiveWriter');

/** More than 1000 tensors, so that the pickle needs a second batch and wide memo numbers; odd sizes, both dtypes. */
const tensors: PlannedTensor[] = Array.from({ length: 1100 }, (_, i) => ({
  name: `module.layers.${i}.weight`,
  dtype: i % 3 === 0 ? 'F32' : 'BF16',
  shape: i % 2 === 0 ? [(i % 7) + 1, 3] : [1, (i % 5) + 1, 2, 2],
  values: { mean: 0, std: 1 },
}));

/** Every byte of tensor i is i mod 251. */
const filler = (tensor: PlannedTensor) => {
  const byte = tensors.indexOf(tensor) % 251;
  return (view: Uint8Array) => void view.fill(byte);
};

async function withArchive(use: (path: string) => void): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'synth-archive-'));
  try {
    const path = join(dir, 'action_head--7_checkpoint.pt');
    // A chunk far smaller than the file: entries and headers straddle chunk borders.
    await writeTorchArchive(path, tensors, filler, new BufferPool(192));
    use(path);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

test('entries as torch writes them: stored, aligned to 64, checked, in order', () =>
  withArchive((path) => {
    const entries = readZip(readFileSync(path));
    const names = entries.map(({ name }) => name.slice('action_head--7_checkpoint/'.length));
    const storages = tensors.map((_, i) => `data/${i}`).sort();
    assert.equal(names, ['data.pkl', 'byteorder', ...storages, 'version', '.data/serialization_id']);
    assert.ok(entries.every(({ crcMatches }) => crcMatches));
    assert.ok(entries.every(({ offset }) => offset % 64 === 0));
    assert.is(entries[1]!.bytes.toString(), 'little');
    assert.is(entries.at(-2)!.bytes.toString(), '3\n');
    assert.match(entries.at(-1)!.bytes.toString(), /^\d{40}$/);
  }));

test('the state dict reads back', () =>
  withArchive((path) => {
    const found = readTorchArchive(path);
    assert.equal(
      [...found.keys()],
      tensors.map(({ name }) => name),
    );
    for (const [i, tensor] of tensors.entries()) {
      const { dtype, shape, bytes } = found.get(tensor.name)!;
      assert.is(dtype, tensor.dtype);
      assert.equal(shape, tensor.shape);
      assert.is(bytes.length, tensorBytes(tensor));
      assert.ok(bytes.every((byte) => byte === i % 251));
    }
  }));

test('Python reads the archive and its pickle', () =>
  withArchive((path) => {
    const python = spawnSync('python3', ['--version']);
    if (python.status !== 0) {
      console.log('skipped: no python3');
      return;
    }
    const script = `
import sys, zipfile, pickletools
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
ops = [(op.name, arg) for op, arg, _ in pickletools.genops(z.read(z.namelist()[0]))]
pickletools.dis(z.read(z.namelist()[0]), out=open('/dev/null', 'w'))
print(len(z.namelist()), sum(op == 'BINPERSID' for op, _ in ops), sorted({arg for op, arg in ops if op == 'GLOBAL'}))
`;
    const out = execFileSync('python3', ['-c', script, path], { encoding: 'utf8' });
    assert.is(
      out.trim(),
      "1104 1100 ['collections OrderedDict', 'torch BFloat16Storage', 'torch FloatStorage', 'torch._utils _rebuild_tensor_v2']",
    );
  }));

test('an entry beyond 4 GB has its offset in a zip64 field', () => {
  const name = Buffer.from('a/data/1');
  const near = directoryHeader({ name, headerOffset: 0xfffffffe, size: 5, crc: 1 });
  assert.is(near.length, 46 + name.length);
  assert.is(near.readUInt32LE(42), 0xfffffffe);
  const far = directoryHeader({ name, headerOffset: 5e9, size: 5, crc: 1 });
  assert.is(far.readUInt16LE(30), far.length - 46 - name.length);
  assert.is(far.readUInt32LE(42), 0xffffffff);
  assert.equal([...far.subarray(46 + name.length, 50 + name.length)], [1, 0, 8, 0]);
  assert.is(far.readBigUInt64LE(50 + name.length), 5_000_000_000n);
  const end = endRecords(70000, 5e9, 100);
  assert.is(end.readBigUInt64LE(48), 5_000_000_000n);
  assert.is(end.readUInt32LE(92), 0xffffffff);
  assert.is(end.readUInt16LE(86), 0xffff);
});

test.run();
