/** Each way of having no addon that loads: one code, what was expected and found, and a next step that can cure it. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Prebuilt } from '../../lib/addon/nativeFiles.ts';
import { addonCommand, noAddon, type Surroundings } from '../../lib/addon/noAddon.ts';
import { buildAddonCommand, reinstallCommand } from '../../lib/support/packageCommand.ts';

const test = suite('no addon');

const prebuilt: Prebuilt = {
  folder: '/robot/node_modules/@semanticvla/linux-x64',
  version: '0.1.0',
  facts: { glibc: '2.34', glibcxx: '3.4.30', onnxRuntime: '1.30.0', modules: {}, kernels: null },
};
const addon = `${prebuilt.folder}/semanticvla.node`;
const robot: Surroundings = {
  system: 'linux',
  processor: 'x64',
  glibc: '2.36',
  prebuilt,
  isClone: false,
};
const oldLibrary = new Error(
  "/lib/libc.so.6: version `GLIBC_2.34' not found (required by ...)\nRequire stack: ...",
);

function told(file: string | null, cause: Error, here: Partial<Surroundings>): string {
  const error = noAddon(file, cause, { ...robot, ...here });
  assert.is(error.code, 'ADDON_NOT_BUILT');
  assert.is(error.cause, cause);
  assert.is(error.message.split('\n').length, 1, error.message);
  return error.message;
}

test('systems that neither installing nor compiling helps are sent to another machine', () => {
  const cases: [Partial<Surroundings>, RegExp][] = [
    [{ system: 'darwin', glibc: null }, /expected Linux, found darwin\. .*semanticvla serve.*connectAct/],
    [{ glibc: null }, /expected Linux with glibc .*found another C library \(musl.*node:22-bookworm-slim/],
    [{ processor: 'riscv64' }, /expected Linux on x64 or arm64.*found riscv64\. .*semanticvla serve/],
  ];
  for (const [here, words] of cases) {
    for (const file of [null, addon]) assert.match(told(file, new Error('whatever'), here), words);
    assert.is(addonCommand({ ...robot, ...here }), null);
  }
});

test('without the prebuilt package it is installed again, or compiled', () => {
  const message = told(null, new Error('none'), { prebuilt: null });
  assert.match(
    message,
    /expected the package @semanticvla\/linux-x64, found none \(installed without optional/,
  );
  for (const command of [reinstallCommand(), buildAddonCommand()])
    assert.ok(message.includes(command), command);
  assert.is(addonCommand({ ...robot, prebuilt: null }), reinstallCommand());
  assert.match(
    told(null, new Error('none'), {}),
    /expected semanticvla\.node in .*linux-x64, found none\. Install anew/,
  );
});

test('a prebuilt addon on an older system says what it needs, and is compiled there', () => {
  const message = told(addon, oldLibrary, { glibc: '2.31' });
  assert.match(
    message,
    /needs glibc 2\.34 and GLIBCXX_3\.4\.30 or newer .*found glibc 2\.31: .*GLIBC_2\.34' not found/,
  );
  assert.ok(message.endsWith(`Compile it on this machine: ${buildAddonCommand()}`), message);
  assert.is(addonCommand(robot), buildAddonCommand());
});

test('one that was compiled here, and a clone, are compiled again', () => {
  const own = '/robot/node_modules/semanticvla/build/Release/semanticvla.node';
  assert.match(
    told(own, oldLibrary, {}),
    /expected .*build\/Release\/semanticvla\.node to load, found: .* Build it again/,
  );
  const clone = { isClone: true, prebuilt: null };
  assert.match(
    told(null, new Error('none'), clone),
    /expected build\/Release\/semanticvla\.node, found none\. Build it with/,
  );
  assert.is(addonCommand({ ...robot, ...clone }), buildAddonCommand());
});

test.run();
