/**
 * Loaded before any program of the emulated node (scripts/arm64.sh). The kernel of this machine runs no Arm programs, so
 * those that node starts are given to QEMU, and node starts itself again through its wrapper.
 */

const { ChildProcess } = require('node:child_process');
const { closeSync, openSync, readSync } = require('node:fs');
const { delimiter, join } = require('node:path');

const { ARM64_NODE, ARM64_QEMU, ARM64_CPU } = process.env;
process.execPath = ARM64_NODE;
// It would replace this process by an Arm program; its callers then start one instead.
process.execve = undefined;

/** e_machine of an ELF file, at byte 18. */
const EM_AARCH64 = 183;

function isArm(file) {
  const header = Buffer.alloc(20);
  try {
    const open = openSync(file);
    const length = readSync(open, header);
    closeSync(open);
    const isElf = length === header.length && header.toString('latin1', 0, 4) === '\x7fELF';
    return isElf && header.readUInt16LE(18) === EM_AARCH64;
  } catch {
    return false;
  }
}

function emulate(options) {
  const folders = options.file.includes('/') ? [''] : (process.env.PATH ?? '').split(delimiter);
  const file = folders.map((folder) => join(folder, options.file)).find(isArm);
  if (file !== undefined) {
    options.args = [ARM64_QEMU, '-cpu', ARM64_CPU, file, ...options.args.slice(1)];
    options.file = ARM64_QEMU;
  }
  return options;
}

const { spawn } = ChildProcess.prototype;
ChildProcess.prototype.spawn = function start(options) {
  return spawn.call(this, emulate(options));
};
const binding = process.binding('spawn_sync');
const { spawn: spawnSync } = binding;
binding.spawn = (options) => spawnSync.call(binding, emulate(options));
