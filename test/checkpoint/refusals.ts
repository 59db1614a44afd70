/** Tables of changes to a golden checkpoint after which it must be refused. Only for tests. */

import { rmSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { goldenCopy } from '../helpers/golden.ts';
import { at, editArchive, editJson, errorOf, fileNamed, type Json } from './editCheckpoint.ts';

export type Change = (dir: string) => void | Promise<void>;
export const config =
  (change: (value: Json) => Json | undefined): Change =>
  (dir) =>
    editJson(dir, 'config.json', change);
export const set = (values: Json): Change => config((value) => ({ ...value, ...values }));
export const tower = (key: string, values: Json): Change =>
  config((value) => void Object.assign(at(value, key), values));
export const text = (values: Json): Change =>
  config((value) => void Object.assign(at(value, 'text_config'), values));
export const preprocessor =
  (values: Json): Change =>
  (dir) =>
    editJson(dir, 'preprocessor_config.json', (value) => ({ ...value, ...values }));
export const remove =
  (name: string): Change =>
  (dir) =>
    rmSync(fileNamed(dir, name), { recursive: true });
export const archive =
  (name: string, change: Parameters<typeof editArchive>[1]): Change =>
  (dir) =>
    editArchive(fileNamed(dir, name), change);

/** Name, change of a copy of libero-tiny, code, and what the message says. */
export type Refusal = readonly [string, Change, string, RegExp];

export async function requireRefused(refusals: readonly Refusal[]): Promise<void> {
  const complaints: string[] = [];
  for (const [name, change, code, says] of refusals) {
    const dir = goldenCopy('libero-tiny');
    await change(dir);
    const error = await errorOf(openCheckpoint(dir)).catch((reason: Error) => ({
      code: 'none',
      message: String(reason.cause ?? reason),
    }));
    if (error.code !== code || !says.test(error.message))
      complaints.push(`${name}: ${error.code}: ${error.message}`);
    rmSync(dir, { recursive: true });
  }
  assert.is(complaints.length, 0, complaints.join('\n'));
}
