/** The Open Inference Protocol, version 2: requests as tritonclient's were captured, hostile ones, and tritonclient itself. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../helpers/cli.ts';
import { pythonVenv } from '../helpers/pythonVenv.ts';
import { testWhen } from '../helpers/skip.ts';
import { defaultActions, FakePolicy } from './fakePolicy.ts';
import { metric, served } from './harness.ts';
import { runPeer, runPython } from './pythonPeers.ts';

const test = suite('Open Inference Protocol');
const venv = pythonVenv(
  'protocols-venv',
  join(import.meta.dirname, 'peers', 'protocols.txt'),
  'import tritonclient.http, vla_eval',
);
const python = 'python' in venv ? venv.python : null;
const reason = 'missing' in venv ? venv.missing : '';
const state = [0.5, 1, 2];

interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly datatype: string;
  readonly bytes?: Buffer;
  readonly data?: unknown;
}

const pixels = (level: number): Buffer => Buffer.alloc(12, level);

function withLength(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
}

const cameras: readonly Tensor[] = [
  { name: 'full_image', shape: [2, 2, 3], datatype: 'UINT8', bytes: pixels(10) },
  { name: 'wrist_image', shape: [2, 2, 3], datatype: 'UINT8', bytes: pixels(200) },
];
const inputs: readonly Tensor[] = [
  ...cameras,
  { name: 'state', shape: [3], datatype: 'FP64', bytes: Buffer.from(Float64Array.from(state).buffer) },
  { name: 'instruction', shape: [1], datatype: 'BYTES', bytes: withLength('pick up the bowl') },
];

/** As tritonclient writes it: the head, then the bytes of the tensors in their order. */
function body(tensors: readonly Tensor[], more: object = {}): { bytes: Buffer<ArrayBuffer>; head: number } {
  const described = tensors.map(({ bytes, ...tensor }) =>
    bytes === undefined ? tensor : { ...tensor, parameters: { binary_data_size: bytes.length } },
  );
  const head = Buffer.from(JSON.stringify({ inputs: described, ...more }));
  const bytes = Buffer.concat([head, ...tensors.map((tensor) => tensor.bytes ?? Buffer.alloc(0))]);
  return { bytes, head: head.length };
}

/** No content type, as tritonclient sends none. */
function infer(
  url: string,
  bytes: Uint8Array<ArrayBuffer>,
  head: number | string | null,
  more: Record<string, string> = {},
): Promise<Response> {
  const headers = { ...(head === null ? {} : { 'Inference-Header-Content-Length': `${head}` }), ...more };
  return fetch(`${url}/v2/models/semanticvla/infer`, { method: 'POST', body: bytes, headers });
}

const wanted = [...defaultActions([2, 3], 0.5)];

test('binary tensors in, binary actions out', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ act, server }) => {
    const { bytes, head } = body(inputs, { id: '7', parameters: { binary_data_output: true } });
    const answer = await infer(act, bytes, head);
    assert.is(answer.status, 200);
    const headBytes = Number(answer.headers.get('inference-header-content-length'));
    const all = Buffer.from(await answer.arrayBuffer());
    assert.equal(JSON.parse(all.subarray(0, headBytes).toString()), {
      model_name: 'semanticvla',
      model_version: '1',
      id: '7',
      outputs: [{ name: 'actions', datatype: 'FP64', shape: [2, 3], parameters: { binary_data_size: 48 } }],
    });
    const values = Array.from({ length: 6 }, (_, i) => all.readDoubleLE(headBytes + 8 * i));
    assert.equal(values, wanted);
    const { observation, options } = policy.calls.at(-1)!;
    assert.is(options.instruction, 'pick up the bowl');
    assert.equal(Array.from(observation.state!), state);
    assert.equal([...observation.images.wrist_image!.data], [...pixels(200)]);
    assert.is(await metric(server, 'semanticvla_requests_total{protocol="oip",code="OK"}'), 1);
  });
});

test('JSON tensors, flat and nested, and keys that are configured', async () => {
  const asJson: readonly Tensor[] = [
    { name: 'seen/top', shape: [1, 1, 3], datatype: 'UINT8', data: [1, 2, 3] },
    { name: 'wrist_image', shape: [1, 1, 3], datatype: 'UINT8', data: [[[4, 5, 6]]] },
    { name: 'state', shape: [3], datatype: 'FP32', data: state },
    { name: 'prompt', shape: [1], datatype: 'BYTES', data: ['pick "up" ü'] },
  ];
  const policy = new FakePolicy({ immediate: true });
  await served(policy, { keys: { cameras: { full_image: 'seen/top' } } }, async ({ act }) => {
    const { bytes } = body(asJson, { outputs: [{ name: 'actions' }] });
    const answer = await infer(act, bytes, null);
    assert.is(answer.status, 200);
    assert.equal(((await answer.json()) as { outputs: { data: number[] }[] }).outputs[0]!.data, wanted);
    const { observation, options } = policy.calls.at(-1)!;
    assert.is(options.instruction, 'pick "up" ü');
    assert.equal([...observation.images.full_image!.data], [1, 2, 3]);
    assert.equal([...observation.images.wrist_image!.data], [4, 5, 6]);
    const described = (await (await fetch(`${act}/v2/models/semanticvla`)).json()) as { inputs: Tensor[] };
    assert.equal(
      described.inputs.map(({ name }) => name),
      ['seen/top', 'wrist_image', 'state', 'instruction'],
    );
  });
});

test('what is refused, as one text, and nothing reaches the policy', async () => {
  const { bytes, head } = body(inputs);
  const without = (name: string): readonly Tensor[] => inputs.filter((tensor) => tensor.name !== name);
  const instead = (tensor: Tensor, more: object = {}): [Buffer<ArrayBuffer>, number] => {
    const made = body([...without(tensor.name), tensor], more);
    return [made.bytes, made.head];
  };
  const text = (bytes: Buffer): Tensor => ({ name: 'instruction', shape: [1], datatype: 'BYTES', bytes });
  const nan = Buffer.from(Float64Array.of(Number.NaN, 0, 0).buffer);
  const made = body(without('full_image'));
  const twice = body([...inputs, inputs[2]!]);
  const refusals: [number, RegExp, Uint8Array<ArrayBuffer>, number | string | null][] = [
    [422, /^CAMERA_MISSING: Field full_image/, made.bytes, made.head],
    [422, /^STATE_INVALID: .*NaN/, ...instead({ name: 'state', shape: [3], datatype: 'FP64', bytes: nan })],
    [422, /^IMAGE_DTYPE/, ...instead({ ...cameras[0]!, datatype: 'INT8' })],
    [422, /^IMAGE_INVALID/, ...instead({ ...cameras[0]!, shape: [12] })],
    [400, /expected 24 bytes of <u2/, ...instead({ ...cameras[0]!, datatype: 'UINT16' })],
    [400, /datatype of full_image/, ...instead({ ...cameras[0]!, datatype: 'FP16' })],
    [400, /datatype of full_image/, ...instead({ ...cameras[0]!, datatype: 'constructor' })],
    [400, /one text behind its length/, ...instead(text(Buffer.from('pick up')))],
    [400, /one text behind its length/, ...instead(text(Buffer.alloc(3)))],
    [
      400,
      /in UTF-8/,
      ...instead(text(Buffer.concat([withLength('ab').subarray(0, 4), Buffer.of(0xff, 0xfe)]))),
    ],
    [400, /each input once/, twice.bytes, twice.head],
    [400, /the output actions/, ...instead(inputs[3]!, { outputs: [{ name: 'logits' }] })],
    [
      400,
      /classification/,
      ...instead(inputs[3]!, { outputs: [{ name: 'actions', parameters: { classification: 1 } }] }),
    ],
    [400, /shared memory/, ...instead(inputs[3]!, { parameters: { shared_memory_region: 'a' } })],
    [400, /`inputs` to be a list/, Buffer.from('{}'), null],
    [400, /a JSON object/, Buffer.from('[]'), null],
    [400, /inference-header-content-length/, bytes, bytes.length + 1],
    [400, /inference-header-content-length/, bytes, '-1'],
    [400, /inference-header-content-length/, bytes, '1e3000'],
    [400, /JSON/, bytes, head - 1],
    [400, /within the body/, bytes.subarray(0, -1), head],
    [400, /as head and inputs state/, Buffer.concat([bytes, Buffer.of(0)]), head],
  ];
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ act }) => {
    const before = policy.calls.length;
    for (const [status, words, sent, length] of refusals) {
      const answer = await infer(act, sent, length);
      const { error } = (await answer.json()) as { error: string };
      assert.match(error, words);
      assert.is(answer.status, status, error);
    }
    const packed = await infer(act, bytes, head, { 'content-encoding': 'gzip' });
    assert.is(packed.status, 415);
    assert.is(policy.calls.length, before);
  });
});

test('access, other paths and methods have the same form of error', async () => {
  const { bytes, head } = body(inputs);
  const token = 'correct-horse-battery-staple-0451';
  await served(new FakePolicy({ immediate: true }), { token }, async ({ act }) => {
    assert.is((await fetch(`${act}/v2/health/ready`)).status, 200);
    const denied = await infer(act, bytes, head);
    assert.is(denied.status, 401);
    assert.match(((await denied.json()) as { error: string }).error, /^UNAUTHORIZED: /);
    const authorization = `Bearer ${token}`;
    assert.is((await infer(act, bytes, head, { authorization })).status, 200);
    for (const [path, status] of [
      ['v2/models/other/infer', 404],
      ['v2/repository/models/a/load', 404],
      ['v2/models/semanticvla/stats', 405],
    ] as const) {
      const answer = await fetch(`${act}/${path}`, { method: 'POST', headers: { authorization } });
      assert.is(answer.status, status);
      assert.type(((await answer.json()) as { error: string }).error, 'string');
    }
  });
  await served(new FakePolicy({ immediate: true }), {}, async ({ act }) => {
    assert.is((await infer(act, bytes, head, { origin: 'http://page.example' })).status, 403);
  });
});

test('a request that was tampered with is answered or refused, never a failure of the server', async () => {
  const { bytes, head } = body(inputs);
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ act }) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 })), {
          minLength: 1,
          maxLength: 4,
        }),
        fc.integer({ min: -3, max: 3 }),
        async (changes, shift) => {
          const sent = Buffer.from(bytes);
          for (const [at, value] of changes) sent[at] = value;
          const answer = await infer(act, sent, head + shift);
          const answered = (await answer.json()) as { error?: string; outputs?: { data: number[] }[] };
          if (answer.status === 200) assert.ok(answered.outputs![0]!.data.every(Number.isFinite));
          else {
            assert.ok(answer.status === 400 || answer.status === 422, `${answer.status}`);
            assert.match(answered.error!, /^[A-Z_]+: /);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});

interface TritonResult {
  readonly live: boolean;
  readonly ready: boolean[];
  readonly model: { readonly inputs: unknown[]; readonly outputs: unknown[] };
  readonly config: { readonly max_batch_size: number };
  readonly index: unknown[];
  readonly count: number;
  readonly dtype: string;
  readonly binary: number[][];
  readonly json: number[][];
  readonly concurrent: number[][];
  readonly id: string;
  readonly errors: Readonly<Record<string, [string, string]>>;
}

testWhen(python !== null, reason, test, 'docs/clients.md: the Python', async () => {
  const page = readFileSync(join(root, 'docs/clients.md'), 'utf8');
  const code = /^```python\n(.*?tritonclient.*?)^```/ms.exec(page)![1]!;
  await served(new FakePolicy({ immediate: true }), {}, async ({ act }) => {
    const own = code.replace('127.0.0.1:8777', act.replace('http://', ''));
    assert.match(await runPython(python!, ['-c', own]), /\[\[ 0\. +1\. +2\.\]\n/);
  });
});

testWhen(python !== null, reason, test, 'tritonclient', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ act }) => {
    const result = await runPeer<TritonResult>(python!, 'triton.py', [
      act.replace('http://', ''),
      JSON.stringify(state),
      'pick up the bowl',
    ]);
    const rows = [wanted.slice(0, 3), wanted.slice(3)];
    assert.equal([result.binary, result.json, result.concurrent], [rows, rows, rows]);
    assert.equal([result.dtype, result.id, result.count, result.live], ['<f8', '7', 3, true]);
    assert.equal(result.ready, [true, true, true, false]);
    assert.equal([result.model.inputs.length, result.model.outputs.length], [4, 1]);
    assert.is(result.config.max_batch_size, 0);
    assert.is(result.index.length, 1);
    for (const [what, [status, words]] of Object.entries({
      'no camera': ['422', 'CAMERA_MISSING'],
      'another model': ['404', 'NOT_FOUND'],
      'another output': ['400', 'REQUEST_INVALID'],
      compressed: ['415', 'REQUEST_INVALID'],
      load: ['404', 'neither loaded nor unloaded'],
      'shared memory': ['404', 'no shared memory'],
    } as const)) {
      assert.is(result.errors[what]![0], status, what);
      assert.ok(result.errors[what]![1].includes(words), result.errors[what]![1]);
    }
    assert.ok(policy.calls.every(({ options }) => options.instruction === 'pick up the bowl'));
  });
});

test.run();
