/** The reference's own requests to our server, and its answers compared with ours. */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { decodeJsonNumpy } from '../../lib/serve/jsonNumpy.ts';
import { float64Array, NdArray, type WireValue } from '../../lib/serve/ndarray.ts';
import { goldenCheckpoint, goldenRoot } from '../helpers/golden.ts';
import { post, served, toJson } from './harness.ts';

const test = suite('golden answers of the reference server');

const folder = join(goldenRoot, 'serving');
const unnormKey = 'libero_spatial_no_noops';

interface Index {
  readonly requests: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
  readonly 'GET /act': { readonly status: number; readonly body: string };
  readonly 'not json': { readonly status: number; readonly body: string };
  readonly decoded_actions_bf16: readonly (readonly number[])[];
}

interface Case {
  readonly samples: readonly {
    readonly instruction: string;
    readonly actions_fp32: readonly (readonly number[])[];
    readonly normalized_fp32: readonly (readonly number[])[];
    readonly normalized_bf16: readonly (readonly number[])[];
    readonly bf16_vs_fp32_max_abs_normalized: number;
  }[];
}

function json<T>(...path: string[]): T {
  return JSON.parse(readFileSync(join(goldenRoot, ...path), 'utf8')) as T;
}

function answerOf(name: string): string {
  return readFileSync(join(folder, `${name}.response.json`), 'utf8');
}

/** As Python's `requests.post(json=...)` writes it, with json_numpy patched in. */
async function requests(instruction: string): Promise<Record<string, string>> {
  const { observation } = await readObservation(join(goldenRoot, 'libero-tiny', 'obs0'));
  const state = float64Array(Float64Array.from(observation.state!), [observation.state!.length]);
  const fields = new Map<string, WireValue>();
  for (const [camera, { data, width, height }] of Object.entries(observation.images)) {
    fields.set(camera, new NdArray('|u1', [height, width, 3], data));
  }
  fields.set('state', state).set('instruction', instruction);
  const plain = toJson(fields);
  return {
    plain,
    encoded: toJson(new Map([['encoded', plain]])),
    no_instruction: toJson(new Map([['state', state]])),
  };
}

function rows(text: string): number[][] {
  const value = decodeJsonNumpy(Buffer.from(text));
  assert.ok(Array.isArray(value));
  return (value as WireValue[]).map((row) => {
    assert.instance(row, NdArray);
    return [...(row as NdArray).numbers()];
  });
}

/** The answer with every base64 run masked by one of the same length: what remains is structure, types, shapes and spacing. */
function structure(text: string): string {
  return text.replace(/[A-Za-z0-9+/]{40,}={0,2}/g, (run) => `<${run.length}>`);
}

function maxAbs(a: readonly (readonly number[])[], b: readonly (readonly number[])[]): number {
  assert.equal([a.length, a[0]?.length], [b.length, b[0]?.length]);
  return Math.max(...a.flatMap((row, i) => row.map((value, j) => Math.abs(value - b[i]![j]!))));
}

test('same requests, same form of answers, values within bf16 of theirs', async () => {
  const index = json<Index>('serving', 'index.json');
  const sample = json<Case>('libero-tiny', 'case.json').samples[0]!;
  const bodies = await requests(sample.instruction);
  for (const [name, { bytes, sha256 }] of Object.entries(index.requests)) {
    const body = Buffer.from(bodies[name]!);
    assert.equal([body.length, createHash('sha256').update(body).digest('hex')], [bytes, sha256], name);
  }
  const policy = await loadPolicy(goldenCheckpoint('libero-tiny'), { unnormKey });
  try {
    await served(policy, { act: { port: 0, compat: true } }, async ({ act }) => {
      for (const name of ['plain', 'encoded', 'no_instruction']) {
        const answer = await post(act, bodies[name]!);
        assert.equal([answer.status, answer.headers.get('content-type')], [200, 'application/json'], name);
        const text = await answer.text();
        assert.is(structure(text), structure(answerOf(name)), name);
        if (name === 'no_instruction') continue;
        const inner = name === 'encoded' ? (JSON.parse(text) as string) : text;
        const theirs = name === 'encoded' ? (JSON.parse(answerOf(name)) as string) : answerOf(name);
        // Ours is the fp32 golden (images at 224 x 224: no resize of our own in it), so exact to its noise.
        assert.ok(maxAbs(rows(inner), sample.actions_fp32) < 5e-5, name);
        // Theirs is the bf16 one, to the last bit.
        assert.equal(rows(theirs), index.decoded_actions_bf16, name);
        // Actions are at most as far apart as normalized ones times the widest range (-1..1 -> at most 2 wide here).
        assert.ok(maxAbs(rows(inner), rows(theirs)) <= 3 * sample.bf16_vs_fp32_max_abs_normalized, name);
      }
      const get = await fetch(`${act}/act`);
      assert.equal([get.status, await get.text()], [index['GET /act'].status, index['GET /act'].body]);
      const malformed = await post(act, 'not json');
      assert.equal(
        [malformed.status, await malformed.text()],
        [index['not json'].status, index['not json'].body],
      );
    });
  } finally {
    await policy.close();
  }
});

test.run();
