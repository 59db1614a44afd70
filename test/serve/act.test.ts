import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeJsonNumpy } from '../../lib/serve/jsonNumpy.ts';
import { NdArray } from '../../lib/serve/ndarray.ts';
import { FakePolicy } from './fakePolicy.ts';
import { actBody, fields, inTime, metric, post, served, toJson, until } from './harness.ts';

const test = suite('POST /act');

async function errorCode(answer: Response): Promise<string> {
  return ((await answer.json()) as { error: { code: string } }).error.code;
}

function rows(text: string): number[][] {
  const value = decodeJsonNumpy(Buffer.from(text));
  assert.ok(Array.isArray(value));
  return (value as unknown[]).map((row) => {
    assert.instance(row, NdArray);
    assert.is((row as NdArray).dtype, '<f8');
    return [...(row as NdArray).numbers()];
  });
}

test('answers a list of C arrays, and an encoded request with a JSON string that holds them', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ act }) => {
    const plain = await post(act, actBody(0.5));
    assert.is(plain.status, 200);
    assert.is(plain.headers.get('content-type'), 'application/json');
    const text = await plain.text();
    assert.equal(rows(text), [
      [0.5, 1.5, 2.5],
      [10.5, 11.5, 12.5],
    ]);
    assert.match(text, /^\[\{"__numpy__":"[^"]+","dtype":"<f8","shape":\[3\]\},\{/);

    const encoded = await post(act, JSON.stringify({ encoded: actBody(0.5) }));
    const inner = JSON.parse(await encoded.text()) as string;
    assert.is(typeof inner, 'string');
    assert.equal(rows(inner), rows(text));
    assert.match(inner, /^\[\{"__numpy__": "[^"]+", "dtype": "<f8", "shape": \[3\]\}, \{/);
  });
});

test('cameras go by name, not by the order of keys, and the state arrives as sent', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ act }) => {
    const reversed = new Map([...fields(7)].reverse());
    assert.is((await post(act, toJson(reversed))).status, 200);
    const { observation, options } = policy.calls[0]!;
    assert.is(observation.images.full_image?.data[0], 10);
    assert.is(observation.images.wrist_image?.data[0], 200);
    assert.equal(Array.from(observation.state!), [7, 1, 2]);
    assert.is(options.instruction, 'pick up the bowl');
  });
});

test('configured keys, also inside of other keys, and `prompt`', async () => {
  const policy = new FakePolicy({ immediate: true });
  const keys = { cameras: { full_image: 'observation/image', wrist_image: 'images/hand' }, state: 'joints' };
  await served(policy, { keys }, async ({ act }) => {
    const given = fields(3);
    const request = new Map([
      ['observation/image', given.get('full_image')!],
      ['images', new Map([['hand', given.get('wrist_image')!]])],
      ['joints', [3, 4, 5]],
      ['prompt', 'open the drawer'],
    ]);
    assert.is((await post(act, toJson(request))).status, 200);
    const { observation, options } = policy.calls[0]!;
    assert.is(observation.images.wrist_image?.data[0], 200);
    assert.equal(Array.from(observation.state!), [3, 4, 5]);
    assert.is(options.instruction, 'open the drawer');
  });
});

/** Each: how a good request is changed, status, code. */
const refusals: readonly [string, (request: Map<string, unknown>) => void, number, string][] = [
  ['no instruction', (r) => r.delete('instruction'), 422, 'INSTRUCTION_INVALID'],
  ['a blank instruction', (r) => r.set('instruction', '  '), 422, 'INSTRUCTION_INVALID'],
  ['two instructions', (r) => r.set('prompt', 'x'), 400, 'REQUEST_INVALID'],
  ['a missing camera', (r) => r.delete('wrist_image'), 422, 'CAMERA_MISSING'],
  ['an image that is no array', (r) => r.set('full_image', 'cat.png'), 422, 'IMAGE_INVALID'],
  [
    'a float image',
    (r) => r.set('full_image', new NdArray('<f4', [1, 1, 3], new Uint8Array(12))),
    422,
    'IMAGE_DTYPE',
  ],
  [
    'an image with alpha',
    (r) => r.set('full_image', new NdArray('|u1', [1, 1, 4], new Uint8Array(4))),
    422,
    'IMAGE_INVALID',
  ],
  [
    'an empty image',
    (r) => r.set('full_image', new NdArray('|u1', [0, 4, 3], new Uint8Array(0))),
    422,
    'IMAGE_INVALID',
  ],
  ['no state', (r) => r.delete('state'), 422, 'STATE_INVALID'],
  ['a state of text', (r) => r.set('state', ['a']), 422, 'STATE_INVALID'],
  [
    'a state that is not finite',
    (r) => r.set('state', new NdArray('<f4', [1], new Uint8Array([0, 0, 0xc0, 0x7f]))),
    422,
    'STATE_INVALID',
  ],
];

test('refuses a request that is not an observation, with a code and without a trace', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ act }) => {
    for (const [what, change, status, code] of refusals) {
      const request = fields();
      change(request as Map<string, unknown>);
      const answer = await post(act, toJson(request));
      const text = await answer.text();
      assert.is(answer.status, status, `${what}: ${text}`);
      assert.is(JSON.parse(text).error.code, code, what);
      assert.not.match(text, /\n|\.ts|node_modules|\/\w+\/\w+\//, what);
    }
    assert.is(policy.calls.length, 0);
  });
});

test('other methods, paths and content types', async () => {
  await served(new FakePolicy(), {}, async ({ act }) => {
    const get = await fetch(`${act}/act`);
    assert.is(get.status, 405);
    assert.is(get.headers.get('allow'), 'POST');
    assert.is((await fetch(`${act}/nothing`)).status, 404);
    assert.is((await fetch(`${act}/%zz`)).status, 404);
    assert.is((await fetch(`${act}/healthz`, { method: 'POST', body: 'x' })).status, 405);
    assert.is((await fetch(`${act}/healthz`, { method: 'HEAD' })).status, 200);
    assert.is((await post(act, 'x', { 'content-type': 'text/plain' })).status, 415);
    assert.is((await post(act, '')).status, 400);
  });
});

test('failures of the policy: 500 and its code, not its message', async () => {
  const policy = new FakePolicy();
  await served(policy, {}, async ({ act, server }) => {
    const first = post(act, actBody());
    (await policy.called(1)).fail(new Error('cannot read /var/lib/robot/secret.safetensors'));
    const broken = await first;
    assert.is(broken.status, 500);
    assert.equal(await broken.json(), {
      error: { code: 'INTERNAL', message: 'The server failed. Its log tells why.' },
    });
    const second = post(act, actBody());
    (await policy.called(2)).finish(Float64Array.of(0, 0, 0, 0, Number.NaN, 0));
    assert.is(await errorCode(await second), 'ACTION_NOT_FINITE');
    assert.is(await metric(server, 'semanticvla_requests_total{protocol="act",code="ACTION_NOT_FINITE"}'), 1);
  });
});

test('--compat answers as the reference does: 200 and "error", and what FastAPI says itself', async () => {
  const policy = new FakePolicy();
  await served(policy, { act: { port: 0, compat: true } }, async ({ act }) => {
    const request = fields();
    request.delete('instruction');
    const missing = await post(act, toJson(request));
    assert.equal([missing.status, await missing.text()], [200, '"error"']);
    const answer = post(act, actBody());
    (await policy.called(1)).fail(new Error('out of memory'));
    const failed = await answer;
    assert.equal([failed.status, await failed.text()], [200, '"error"']);
    const inner = await post(act, JSON.stringify({ encoded: 'not json' }));
    assert.equal([inner.status, await inner.text()], [200, '"error"']);
    const malformed = await post(act, 'not json');
    assert.is(malformed.status, 422);
    assert.match(await malformed.text(), /^\{"detail":\[\{"type":"json_invalid"/);
    const get = await fetch(`${act}/act`);
    assert.equal([get.status, await get.text()], [405, '{"detail":"Method Not Allowed"}']);
  });
});

test('one runs, every other connection waits for its turn, in the order of coming', async () => {
  const policy = new FakePolicy();
  await served(policy, {}, async ({ act, server }) => {
    const answers: Promise<Response>[] = [];
    for (let i = 1; i <= 4; i++) {
      answers.push(post(act, actBody(i)));
      if (i === 1) await policy.called(1);
      else await until(async () => (await metric(server, 'semanticvla_waiting')) === i - 1, `${i} there`);
    }
    for (let i = 1; i <= 4; i++) {
      const call = await inTime(policy.called(i), `turn ${i}`);
      assert.is(call.observation.state?.[0], i);
      call.finish();
      assert.is(rows(await (await answers[i - 1]!).text())[0]![0], i);
    }
    assert.is(policy.mostRunning, 1);
  });
});

test('three failures in a row: alive but not ready, until one succeeds', async () => {
  const policy = new FakePolicy();
  await served(policy, {}, async ({ act }) => {
    for (let i = 1; i <= 3; i++) {
      assert.is((await fetch(`${act}/readyz`)).status, 200);
      const answer = post(act, actBody());
      (await policy.called(i)).fail(new Error('CUDA error 700'));
      await answer;
    }
    assert.is((await fetch(`${act}/healthz`)).status, 200);
    assert.is((await fetch(`${act}/readyz`)).status, 503);
    const answer = post(act, actBody());
    (await policy.called(4)).finish();
    await answer;
    assert.is((await fetch(`${act}/readyz`)).status, 200);
  });
});

test('other forms of the answer, for clients that name no content type', async () => {
  const rows = [
    [0.5, 1.5, 2.5],
    [10.5, 11.5, 12.5],
  ];
  for (const [answer, wanted] of [
    ['lists', rows],
    ['action', rows[0]],
    ['object', { actions: rows }],
  ] as const) {
    await served(new FakePolicy({ immediate: true }), { act: { port: 0, answer } }, async ({ act }) => {
      const untyped = await fetch(`${act}/act`, { method: 'POST', body: new Blob([actBody(0.5)]) });
      assert.equal([untyped.status, await untyped.json()], [200, wanted]);
      const encoded = await post(act, JSON.stringify({ encoded: actBody(0.5) }));
      assert.equal(JSON.parse((await encoded.json()) as string), wanted);
      assert.is((await post(act, actBody(), { 'content-type': 'text/plain' })).status, 415);
      const page = {
        method: 'POST',
        body: new Blob([actBody()]),
        headers: { origin: 'http://page.example' },
      };
      assert.is((await fetch(`${act}/act`, page)).status, 403);
    });
  }
  const options = { act: { port: 0, answer: 'json' as never } };
  const error = await served(new FakePolicy({ immediate: true }), options, async () => {}).catch(
    (caught) => caught,
  );
  assert.is(error.code, 'OPTION_INVALID');
});

test.run();
