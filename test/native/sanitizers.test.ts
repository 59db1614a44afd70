import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { testWhen } from '../helpers/skip.ts';

const sanitizers = suite('native/sanitizers');

const root = resolve(import.meta.dirname, '../..');
const compiler = process.env.CXX ?? 'g++';
const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';

/** Compiles and links with the given sanitizers. */
function compile(sources: readonly string[], kind: string, out: string, input?: string) {
  const flags = ['-std=c++17', '-O1', '-g', '-ffp-contract=off', '-Inative', '-DVECTORIZE=', '-pthread'];
  const args = [...flags, `-fsanitize=${kind}`, '-fno-sanitize-recover=all', ...sources, '-o', out];
  return spawnSync(compiler, args, {
    cwd: root,
    encoding: 'utf8',
    ...(input === undefined ? {} : { input }),
  });
}

/** Whether a program with this sanitizer links and runs: its library may be missing, or its address space refused. */
function usable(kind: string): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-sanitizers-'));
  try {
    const out = join(folder, 'probe');
    const built = compile(['-x', 'c++', '-'], kind, out, 'int main() {}\n');
    return built.status === 0 && spawnSync(out).status === 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const sources = readFileSync(join(root, 'native/sources.txt'), 'utf8')
  .trim()
  .split('\n')
  .filter((file) => /^native\/(reference|support)\//.test(file));

for (const kind of ['address,undefined', 'thread']) {
  testWhen(
    isLong && usable(kind),
    isLong
      ? `${compiler} cannot build and run with -fsanitize=${kind}`
      : 'it compiles all sources again; SEMANTICVLA_LONG_TESTS=1 runs it',
    sanitizers,
    `every step on many sizes is clean under -fsanitize=${kind}`,
    () => {
      const folder = mkdtempSync(join(tmpdir(), 'semanticvla-sanitizers-'));
      try {
        const out = join(folder, 'sweep');
        const built = compile(['test/native/referenceSweep.cpp', ...sources], kind, out);
        assert.is(built.status, 0, built.stderr);
        const ran = spawnSync(out, { encoding: 'utf8' });
        assert.is(ran.status, 0, `${ran.signal ?? ''} ${ran.stderr}`);
        // 460 sizes with two comparisons each, 398 texts of base64, 360 low-rank sums, and six of the whole preprocessing.
        assert.is(ran.stdout.trim(), '1684 cases');
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );
}

sanitizers.run();
