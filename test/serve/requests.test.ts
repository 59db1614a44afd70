/** Requests of users' own clients: keys of other servers, lists, NumPy scalars, unused texts. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeMsgpackNumpy } from '../../lib/serve/msgpackNumpy.ts';
import { NdArray, type WireValue } from '../../lib/serve/ndarray.ts';
import { servePolicy } from '../../lib/serve/servePolicy.ts';
import { FakePolicy, liberoPlatform } from './fakePolicy.ts';
import { actBody, connect, fields, openpiMessage, post, served, silent, toJson } from './harness.ts';

const test = suite('requests as people send them');
const token = 'correct-horse-battery-staple-0451';

type Changes = Readonly<Record<string, WireValue | undefined>>;

function changed(changes: Changes): Map<string, WireValue> {
  const request = fields();
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) request.delete(key);
    else request.set(key, value);
  }
  return request;
}

/** Both protocols, and `encoded`; what each answers: `OK`, or code and message. */
async function answers(policy: FakePolicy, changes: Changes, options = {}): Promise<string[]> {
  const found: string[] = [];
  await served(policy, options, async ({ act, openpi }) => {
    const body = toJson(changed(changes));
    for (const text of [body, JSON.stringify({ encoded: body })]) {
      const answer = await post(act, text);
      if (answer.status === 200) found.push('OK');
      else {
        const { error } = (await answer.json()) as { error: { code: string; message: string } };
        assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status} ${error.message}`);
        found.push(`${error.code}: ${error.message}`);
      }
    }
    const { socket, next } = connect(openpi);
    await next();
    socket.send(encodeMsgpackNumpy(changed(changes)));
    const frame = await next();
    found.push(typeof frame === 'string' ? frame : 'OK');
    socket.close();
  });
  return found;
}

async function all(
  changes: Changes,
  wanted: RegExp,
  policy = new FakePolicy({ immediate: true }),
  options = {},
) {
  for (const [i, answer] of (await answers(policy, changes, options)).entries())
    assert.match(
      answer,
      wanted,
      `${['plain', 'encoded', 'openpi'][i]}: ${JSON.stringify(Object.keys(changes))}`,
    );
}

test('unnorm_key: the served one, its short name and none are taken, another is refused by both names', async () => {
  const options = { unnormKey: 'libero_goal_no_noops' };
  const policy = (): FakePolicy => new FakePolicy({ immediate: true });
  for (const key of ['libero_goal_no_noops', 'libero_goal', null])
    await all({ unnorm_key: key }, /^OK$/, policy(), options);
  const both = /^UNNORM_KEY_OTHER: .*libero_goal_no_noops.*"bridge_orig"/;
  await all({ unnorm_key: 'bridge_orig' }, both, policy(), options);
  await all({ unnorm_key: 7 }, /^REQUEST_INVALID: .*unnorm_key/, policy(), options);
  // Where the server was not told, the policy knows (the fake one answers in units of `fake`).
  await all({ unnorm_key: 'bridge_orig' }, /^UNNORM_KEY_OTHER: .*expected fake/);
  await all({ unnorm_key: 'fake' }, /^OK$/);
});

test('images as lists are pointed to json_numpy, small ones and real ones; other values are named', async () => {
  const list = (side: number): WireValue =>
    Array.from({ length: side }, () => Array.from({ length: side }, () => [1, 2, 3]));
  for (const camera of ['full_image', 'wrist_image'])
    for (const side of [2, 100]) await all({ [camera]: list(side) }, /json_numpy\.patch\(\)|msgpack_numpy/);
  await all({ full_image: list(2) }, /^IMAGE_INVALID: Field full_image: .*found a list/);
  await all({ full_image: 'frame.png' }, /^IMAGE_INVALID: .*found a text/);
  // a PNG without its rest
  await all(
    { full_image: 'iVBORw0KGgo=' },
    /^IMAGE_INVALID: Field full_image: expected an image that decodes/,
  );
  await all({ full_image: new Map([['data', 1]]) }, /^IMAGE_INVALID: .*found an object/);
});

test('a state of NumPy scalars, of a batch of one, of plain numbers', async () => {
  const scalar = (value: number): NdArray =>
    new NdArray('<f4', [], new Uint8Array(new Float32Array([value]).buffer));
  for (const state of [
    [scalar(0.5), scalar(1), scalar(2)],
    [scalar(0.5), 1, 2],
    [[0.5, 1, 2]],
    [new NdArray('<f4', [3], new Uint8Array(new Float32Array([0.5, 1, 2]).buffer))],
  ] as WireValue[]) {
    const policy = new FakePolicy({ immediate: true });
    await all({ state }, /^OK$/, policy);
    for (const { observation } of policy.calls) assert.equal(Array.from(observation.state!), [0.5, 1, 2]);
  }
  await all({ state: [scalar(Number.NaN), 1] }, /^STATE_INVALID: .*NaN at 0/);
  await all({ state: [0, 'x'] }, /^STATE_INVALID: .*a text at 1/);
  await all({ state: [0, null] }, /^STATE_INVALID: .*null at 1/);
  await all({ state: 'x' }, /^STATE_INVALID: .*a text/);
  await all({ state: [0, [1]] }, /^STATE_INVALID: .*a list at 1/);
});

test('what is missing names what is there and the flag that maps it', async () => {
  const openpiNames = { full_image: undefined, observation: new Map([['image', 1]]), 'a "b"\n': 1 };
  await all(
    openpiNames,
    /^CAMERA_MISSING: Field full_image: .*wrist_image, state, instruction, observation\/image, "a \\"b\\"\\n".*--camera full_image=KEY/,
  );
  await all({ state: undefined }, /^STATE_INVALID: Field state: .*found full_image, .*--state-key/);
  await all({ state: null }, /^STATE_INVALID: Field state: .*--state-key/);
  await all({ instruction: undefined, task: 'x' }, /^INSTRUCTION_INVALID: .*task.*--instruction-key/);
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`${'k'.repeat(100)}${i}`, 1]));
  const long = await answers(new FakePolicy(), { full_image: undefined, ...many });
  for (const text of long) assert.ok(text.length < 1200 && text.includes('more'), text);
});

test('what nobody reads refuses nothing: long texts, types and shapes of others', async () => {
  await all({ thumbnail: 'x'.repeat(100_000) }, /^OK$/);
  await all({ meta: new Map([['thumbnail', ['x'.repeat(100_000)]]]) }, /^OK$/);
  const policy = new FakePolicy({ immediate: true, platform: { ...liberoPlatform, proprio: false } });
  await all({ state: 'not used' }, /^OK$/, policy);
  await served(new FakePolicy({ immediate: true }), {}, async ({ act }) => {
    const foreign = '{"__numpy__":"cAAAAA==","dtype":"<U1","shape":[]}';
    const body = actBody().replace('{', `{"name": ${foreign}, "broken": {"__numpy__": 5}, `);
    assert.is((await post(act, body)).status, 200);
    assert.is((await post(act, body.replaceAll('"full_image"', '"other"'))).status, 422);
  });
});

test('text: UTF-8 only, whole characters only, each key once', async () => {
  await all({ instruction: 'h\u{1f916}lt' }, /^OK$/);
  await served(new FakePolicy({ immediate: true }), {}, async ({ act, openpi }) => {
    const half = actBody().replace('pick up', 'pick \\ud800 up');
    assert.is((await post(act, half)).status, 422);
    const message = openpiMessage();
    const at = message.indexOf('pick');
    for (const bytes of [[0xc0, 0xae], [0xed, 0xa0, 0x80], [0xff], [0xe9]]) {
      const wrong = Buffer.from(message);
      wrong.set(bytes, at);
      const raw = Buffer.from(actBody());
      raw.set(bytes, raw.indexOf('pick'));
      assert.is((await post(act, raw)).status, 400);
      const { socket, next } = connect(openpi);
      await next();
      socket.send(wrong);
      assert.match((await next()) as string, /^REQUEST_INVALID: .*UTF-8/);
      socket.terminate();
    }
    const twice = encodeMsgpackNumpy(new Map([...fields(), ['promps', 'open']]));
    const renamed = Buffer.from(twice.toString('latin1').replace('\xa6promps', '\xa5state'), 'latin1');
    const { socket, next } = connect(openpi);
    await next();
    socket.send(renamed);
    assert.match((await next()) as string, /^REQUEST_INVALID: .*each key once.*"state"/);
    socket.terminate();
  });
});

test('a byte order mark, a slash behind the path, and a page that says what is here', async () => {
  await served(new FakePolicy({ immediate: true }), {}, async ({ act, openpi }) => {
    const marked = Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(actBody())]);
    assert.is((await post(act, marked)).status, 200);
    assert.is((await post(act, JSON.stringify({ encoded: `\ufeff${actBody()}` }))).status, 200);
    assert.is((await post(`${act}/act`.slice(0, -4), actBody())).status, 200);
    const headers = { 'content-type': 'application/json' };
    for (const path of ['/act/', '/act?x=1', '/act/?x'])
      assert.is((await fetch(act + path, { method: 'POST', body: actBody(), headers })).status, 200, path);
    for (const url of [act, openpi.replace('ws', 'http')]) {
      const page = await fetch(`${url}/`);
      assert.is(page.status, 200);
      assert.match(await page.text(), url === act ? /POST \/act/ : /WebSocket/);
    }
    assert.match(await (await fetch(`${act}/predict`)).text(), /NOT_FOUND.*\/act/);
  });
});

test('content types: JSON, said so, as it is', async () => {
  await served(new FakePolicy({ immediate: true }), {}, async ({ act }) => {
    const status = async (headers: Record<string, string>): Promise<number> => {
      const body = new Blob([actBody()]);
      return (await fetch(`${act}/act`, { method: 'POST', body, headers })).status;
    };
    assert.is(await status({}), 415);
    for (const type of ['application/json; charset=utf-8', 'application/vnd.robot+json', 'Application/JSON'])
      assert.is(await status({ 'content-type': type }), 200, type);
    for (const type of ['text/plain', 'application/jsonx', 'application/json; charset=utf-16'])
      assert.is(await status({ 'content-type': type }), 415, type);
    assert.is(await status({ 'content-type': 'application/json', 'content-encoding': 'gzip' }), 415);
  });
});

test('a token where URLs have a user; one of a browser from another page is refused', async () => {
  await served(new FakePolicy({ immediate: true }), { token }, async ({ act }) => {
    const basic = (pair: string): Record<string, string> => ({
      authorization: `Basic ${Buffer.from(pair).toString('base64')}`,
    });
    for (const pair of [`x:${token}`, `${token}:`, `${token}:x`, `:${token}`])
      assert.is((await post(act, actBody(), basic(pair))).status, 200, pair);
    for (const pair of [token, `x:${token}x`, 'x:', ':', ''])
      assert.is((await post(act, actBody(), basic(pair))).status, pair === token ? 200 : 401, pair);
    const page = { ...basic(`x:${token}`), origin: 'https://example.com' };
    assert.is((await post(act, actBody(), page)).status, 403);
  });
});

test('before it listens the policy predicts once, and what every request would be refused for is refused', async () => {
  class Knowing extends FakePolicy {
    readonly stateSize = 3;
  }
  const policy = new Knowing();
  const starting = servePolicy(policy, { act: { port: 0 }, openpi: false, logger: silent });
  const call = await policy.called(1);
  assert.is(call.observation.state?.length, 3);
  assert.equal(Object.keys(call.observation.images), liberoPlatform.cameras);
  call.finish();
  const server = await starting;
  const metadata = (await (await fetch(`${server.actUrl}/metadata`)).json()) as { unnorm_key: string };
  assert.is(metadata.unnorm_key, 'fake');
  await server.close();

  const broken = new Knowing();
  const refused = servePolicy(broken, { act: { port: 0 }, openpi: false, logger: silent });
  (await broken.called(1)).fail(new Error('no kernel image'));
  try {
    await refused;
  } catch (error) {
    assert.match((error as Error).message, /no kernel image/);
    return;
  }
  throw new Error('it started');
});

test.run();
