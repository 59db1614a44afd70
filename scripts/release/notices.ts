/** The licence of ONNX Runtime and of what it contains: the npm package has neither file, its wheel of the same version has both. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './run.ts';

export interface Notices {
  readonly licence: string;
  readonly thirdParty: string;
}

/** The wheel, with its digest. */
const pinned = join(import.meta.dirname, 'onnxRuntimeWheel.txt');

/** @param version of ONNX Runtime; the wheel has to be of the same */
export function onnxRuntimeNotices(version: string): Notices {
  const text = readFileSync(pinned, 'utf8');
  if (!text.includes(`onnxruntime==${version} `))
    throw new Error(`${pinned}: expected the wheel of onnxruntime ${version}, found ${text.trim()}`);
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-notices-'));
  try {
    const wheels = join(folder, 'wheels');
    mkdirSync(wheels);
    const download = [
      '-m',
      'pip',
      'download',
      '--quiet',
      '--disable-pip-version-check',
      '--require-hashes',
      '--no-deps',
    ];
    const which = [
      '--only-binary',
      ':all:',
      '--python-version',
      '3.11',
      '--platform',
      'manylinux_2_28_x86_64',
    ];
    run('python3', [...download, ...which, '--dest', wheels, '-r', pinned], { cwd: folder });
    run('python3', ['-m', 'zipfile', '-e', join(wheels, readdirSync(wheels)[0]!), folder], { cwd: folder });
    const read = (name: string) => readFileSync(join(folder, 'onnxruntime', name), 'utf8');
    return { licence: read('LICENSE'), thirdParty: read('ThirdPartyNotices.txt') };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
