/**
 * Reading the body of `POST /act`: the reader of lib/serve/jsonBytes.ts beside `JSON.parse` and Node's base64, alternating in
 * one process; then the most memory of a process that reads it again and again, less that of one that only copies it.
 *
 *   node --import tsx bench/requestJson.ts [--rounds 200]
 *
 * `JSON.parse` is timed without any of the reader's checks: no depth, no count, no twice-named keys, no bound of a text.
 */

import { spawnSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { decodeActRequest } from '../lib/serve/jsonNumpy.ts';

const { values, positionals } = parseArgs({
  options: { rounds: { type: 'string', default: '200' }, memory: { type: 'boolean' } },
  allowPositionals: true,
});
const keys = ['full_image', 'wrist_image', 'state', 'instruction'];

function request(width: number, height: number): string {
  const image = () => ({
    __numpy__: randomFillSync(Buffer.alloc(width * height * 3)).toString('base64'),
    dtype: '|u1',
    shape: [height, width, 3],
  });
  const state = { __numpy__: Buffer.alloc(64).toString('base64'), dtype: '<f8', shape: [8] };
  return JSON.stringify({
    full_image: image(),
    wrist_image: image(),
    state,
    instruction: 'pick up the bowl',
  });
}

const bodies: Readonly<Record<string, () => string>> = {
  'two of 224 x 224': () => request(224, 224),
  'two of 640 x 480': () => request(640, 480),
  'the same, encoded': () => JSON.stringify({ encoded: request(640, 480) }),
  'two of 2400 x 1600, encoded': () => JSON.stringify({ encoded: request(2400, 1600) }),
  '31 MiB of {}, refused by ours': () => `{"state":[${'{},'.repeat((31 * 2 ** 20) / 3)}{}]}`,
};

const readers: Readonly<Record<string, (body: Buffer) => unknown>> = {
  floor: (body) => body.length,
  ours: (body) => {
    try {
      const { fields } = decodeActRequest(body);
      return keys.map((key) => fields.find(key));
    } catch {
      return null;
    }
  },
  'JSON.parse': (body) => {
    type Fields = Record<string, { readonly __numpy__?: string } | string>;
    const outer = JSON.parse(body.toString()) as Fields;
    const fields = typeof outer.encoded === 'string' ? (JSON.parse(outer.encoded) as Fields) : outer;
    return keys.map((key) => {
      const value = fields[key];
      const text = typeof value === 'object' ? value.__numpy__ : undefined;
      return text === undefined ? value : Buffer.from(text, 'base64');
    });
  },
};

const median = (times: readonly number[]): number => [...times].sort((a, b) => a - b)[times.length >> 1]!;

/** MiB that a process has held at most while it read the body in `file`; null: it did not survive. */
function peakOf(file: string, reader: string): number | null {
  const args = ['--import', 'tsx', import.meta.filename, '--memory', file, reader];
  const { stdout, status } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return status === 0 ? Number(stdout) : null;
}

function holdInMemory(file: string, reader: string): void {
  const bytes = readFileSync(file);
  for (let i = 0; i < 10; i++) readers[reader]!(Buffer.from(bytes));
  process.stdout.write(String(process.resourceUsage().maxRSS / 1024));
}

function compare(name: string, bytes: Buffer, file: string): string {
  writeFileSync(file, bytes);
  const rounds = bytes.length > 2 ** 23 ? Math.ceil(Number(values.rounds) / 20) : Number(values.rounds);
  const times = new Map(Object.keys(readers).map((reader) => [reader, [] as number[]]));
  for (let i = 0; i < rounds; i++) {
    for (const [reader, read] of Object.entries(readers)) {
      const copy = Buffer.from(bytes);
      const start = performance.now();
      read(copy);
      times.get(reader)!.push(performance.now() - start);
    }
  }
  const floor = peakOf(file, 'floor')!;
  const cells = ['ours', 'JSON.parse'].map((reader) => {
    const peak = peakOf(file, reader);
    const extra = peak === null ? 'the process died' : `${(peak - floor).toFixed(0)} MiB`;
    return `${reader} ${median(times.get(reader)!).toFixed(2)} ms, ${extra}`;
  });
  return `${name.padEnd(30)} ${(bytes.length / 2 ** 20).toFixed(1).padStart(5)} MiB  ${cells.join('   ')}`;
}

if (values.memory) {
  holdInMemory(positionals[0]!, positionals[1]!);
} else {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-json-'));
  try {
    for (const [name, make] of Object.entries(bodies))
      console.log(compare(name, Buffer.from(make()), join(folder, 'body')));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
