/** How files are opened: what is refused, with which code and message. */

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { brief, isThere, openRegular, readRegular, readText, utf8Of } from '../../lib/support/fileAccess.ts';
import { makeFolder, makeFolderSync } from '../../lib/support/makeFolder.ts';

const test = suite('files of others');
const codes = { missing: 'CHECKPOINT_FILE_MISSING', invalid: 'CONFIG_INVALID' } as const;

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-test-'));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function failure(promise: Promise<unknown>): Promise<SemanticVlaError> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  assert.instance(error, SemanticVlaError);
  return error as SemanticVlaError;
}

test('what is no regular file is named, and nothing waits for it', async () => {
  await inFolder(async (folder) => {
    const at = (name: string) => join(folder, name);
    execFileSync('mkfifo', [at('pipe')]);
    mkdirSync(at('folder'));
    symlinkSync('../blobs/gone', at('dangling'));
    symlinkSync('loop', at('loop'));
    symlinkSync('/dev/zero', at('zero'));
    const server = createServer().listen(at('socket'));
    const cases: readonly (readonly [string, RegExp])[] = [
      ['pipe', /a FIFO/],
      ['folder', /a folder/],
      ['dangling', /a link to \.\.\/blobs\/gone, which is not there/],
      ['loop', /ELOOP/],
      ['zero', /a device/],
      ['socket', /socket/],
      ['none', /no such file \(ENOENT\)/],
      ['none/below', /no such file/],
    ];
    for (const [name, says] of cases) {
      const error = await failure(openRegular(at(name), codes));
      assert.is(error.code, 'CHECKPOINT_FILE_MISSING', name);
      assert.match(error.message, says);
      assert.ok(error.message.startsWith(at(name)));
      assert.is(
        (await failure(readRegular(at(name), { ...codes, cap: 10 }))).code,
        'CHECKPOINT_FILE_MISSING',
      );
    }
    server.close();
  });
});

test('absent is only a name that is not in its folder', async () => {
  await inFolder(async (folder) => {
    const at = (name: string) => join(folder, name);
    symlinkSync('gone', at('dangling'));
    execFileSync('mkfifo', [at('pipe')]);
    writeFileSync(at('file'), 'x');
    assert.is(await isThere(at('none'), 'CONFIG_INVALID'), false);
    for (const name of ['dangling', 'pipe', 'file', '.'])
      assert.is(await isThere(at(name), 'CONFIG_INVALID'), true);
    for (const name of ['nowhere/below', 'file/below', 'dangling/below'])
      assert.is((await failure(isThere(at(name), 'CONFIG_INVALID'))).code, 'CONFIG_INVALID', name);
  });
});

test('no permission is no absence', async () => {
  if (process.getuid?.() === 0) return;
  await inFolder(async (folder) => {
    mkdirSync(join(folder, 'shut'));
    writeFileSync(join(folder, 'secret'), 'x', { mode: 0 });
    chmodSync(join(folder, 'shut'), 0);
    assert.match((await failure(openRegular(join(folder, 'secret'), codes))).message, /EACCES/);
    assert.match((await failure(isThere(join(folder, 'shut', 'x'), 'CONFIG_INVALID'))).message, /EACCES/);
    chmodSync(join(folder, 'shut'), 0o700);
  });
});

test('what a download left instead of the file is called by its name, with the way out', async () => {
  const lfs =
    'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n';
  const cases: readonly (readonly [string | Buffer, RegExp])[] = [
    [lfs, /a Git LFS pointer to 12345 bytes.*git lfs pull/],
    [lfs.replaceAll('\n', '\r\n'), /a Git LFS pointer to 12345 bytes/],
    [`\ufeff${lfs}`, /a Git LFS pointer/],
    ['/annex/objects/SHA256E-s10--abc\n', /git annex get/],
    ['<!DOCTYPE html>\n<html><head><title>Sign in</title>', /a web page.*\/resolve\//],
    ['\n <HTML lang="en">', /a web page/],
    ['<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', /XML/],
    ['Entry not found', /a server's refusal \("Entry not found"\)/],
    ['Access to model x/y is restricted', /a server's refusal/],
    ['', /an empty file/],
    [Buffer.alloc(4096), /only zeros/],
  ];
  await inFolder(async (folder) => {
    for (const [content, says] of cases) {
      const file = join(folder, 'file');
      writeFileSync(file, content);
      const error = await failure(openRegular(file, codes));
      assert.is(error.code, 'CONFIG_INVALID');
      assert.match(error.message, says);
    }
  });
});

test('reads are bounded, whatever the size says', async () => {
  await inFolder(async (folder) => {
    const file = join(folder, 'file');
    writeFileSync(file, 'x');
    truncateSync(file, 2 ** 40);
    const options = { ...codes, tooLarge: 'IMAGE_TOO_LARGE', cap: 100 } as const;
    assert.is((await failure(readRegular(file, options))).code, 'IMAGE_TOO_LARGE');
    truncateSync(file, 101);
    assert.is((await failure(readRegular(file, options))).code, 'IMAGE_TOO_LARGE');
    truncateSync(file, 100);
    assert.is((await readRegular(file, options)).length, 100);
    // sizes in /proc are 0
    assert.match((await readRegular('/proc/self/status', { ...codes, cap: 2 ** 20 })).toString(), /^Name:/);
    assert.is((await failure(readRegular('/proc/self/status', options))).code, 'IMAGE_TOO_LARGE');
  });
});

test('text: a byte order mark is passed over, other encodings are named', async () => {
  await inFolder(async (folder) => {
    const file = join(folder, 'file');
    const read = (content: string | Buffer) => {
      writeFileSync(file, content);
      return readText(file, { ...codes, cap: 1000 });
    };
    assert.is(await read('\ufeff{"ä": 1}'), '{"ä": 1}');
    assert.is(await read('{"ä": 1}'), '{"ä": 1}');
    assert.match((await failure(read(Buffer.from('\ufeff{}', 'utf16le')))).message, /UTF-16/);
    assert.match((await failure(read(Buffer.from([0x7b, 0xff])))).message, /other bytes/);
  });
  assert.is(utf8Of(Buffer.from('\ufeffx')), 'x');
  assert.is(utf8Of(Buffer.from([0xc3])), null);
});

test('values in messages are short, however deep', () => {
  let deep: unknown = 0;
  for (let i = 0; i < 20_000; i++) deep = [deep];
  assert.is(brief(deep), 'a list of 1');
  assert.is(brief({ a: deep }), 'an object');
  assert.is(brief('x'.repeat(100)).length, 63);
  assert.is(brief(undefined), 'nothing');
});

test('a folder is made with its parents, or the attempt ends', async () => {
  await inFolder(async (folder) => {
    for (const make of [makeFolder, async (path: string) => makeFolderSync(path)]) {
      await make(join(folder, 'a/b/c'));
      await make(join(folder, 'a/b/c'));
      rmSync(join(folder, 'a'), { recursive: true });
      // /proc answers ENOENT below a folder that is there; Node's own `recursive` tries again for ever
      for (const path of ['/proc/none', '/proc/none/below', '/sys/none', '/dev/null/below']) {
        const error: unknown = await make(path).catch((reason: unknown) => reason);
        assert.instance(error, Error, path);
      }
      symlinkSync('gone', join(folder, 'dangling'));
      assert.instance(await make(join(folder, 'dangling')).catch((reason: unknown) => reason), Error);
      rmSync(join(folder, 'dangling'));
    }
  });
});

test.run();
