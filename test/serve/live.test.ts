/** The live page's protocol: what is told, to whom, how much is held for those who read slowly, and that nothing is done unseen. */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type ClientRequest, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { livePage, livePagePolicy } from '../../lib/serve/live/livePage.ts';
import { readReport } from '../../lib/serve/live/liveReport.ts';
import { sseEvent, Viewer } from '../../lib/serve/live/viewer.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { ActionChunk, Observation, PredictOptions } from '../../lib/types.ts';
import { cli, root } from '../helpers/cli.ts';
import { FakePolicy, liberoPlatform } from './fakePolicy.ts';
import { actBody, connect, fields, metric, openpiMessage, post, served, toJson, until } from './harness.ts';

const test = suite('live page');

interface Told {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A page: what it was told, in order. */
class Looker {
  readonly told: Told[] = [];
  readonly request: ClientRequest;
  response: IncomingMessage | null = null;
  isEnded = false;
  #text = '';

  constructor(url: string, headers: Record<string, string> = {}) {
    this.request = get(url, { headers, agent: false }, (response) => {
      this.response = response;
      response.setEncoding('utf8').on('data', (text: string) => this.#take(text));
      response.on('close', () => {
        this.isEnded = true;
      });
    }).on('error', () => {
      this.isEnded = true;
    });
  }

  #take(text: string): void {
    const parts = (this.#text + text).split('\n\n');
    this.#text = parts.pop()!;
    for (const part of parts) {
      const found = /^event: (\w+)\ndata: ([^\n]*)$/.exec(part);
      if (found === null) throw new Error(`not an event: ${part}`);
      this.told.push({ name: found[1]!, data: JSON.parse(found[2]!) as Told['data'] });
    }
  }

  async next(name: string): Promise<Told['data']> {
    await until(() => this.told.some((one) => one.name === name), `event ${name}`);
    const at = this.told.findIndex((one) => one.name === name);
    return this.told.splice(at, 1)[0]!.data;
  }
}

async function looking(url: string, headers: Record<string, string> = {}): Promise<Looker> {
  const looker = new Looker(`${url}/live/events`, headers);
  await looker.next('hello');
  return looker;
}

/** Counts how often anybody reads what it was asked, after it has answered. */
class WatchedPolicy extends FakePolicy {
  reads = 0;
  #hasAnswered = false;

  constructor() {
    super({ immediate: true });
  }

  override async predict(observation: Observation, options: PredictOptions): Promise<ActionChunk> {
    const chunk = await super.predict(observation, options);
    for (const [object, key] of [
      [observation, 'images'],
      [observation, 'state'],
      [observation.images, 'full_image'],
      [observation.images, 'wrist_image'],
    ] as const) {
      const value = (object as Record<string, unknown>)[key];
      const read = (): unknown => {
        if (this.#hasAnswered) this.reads++;
        return value;
      };
      Object.defineProperty(object, key, { get: read, configurable: true });
    }
    this.#hasAnswered = true;
    const keptPatches = { full_image: Int32Array.of(0, 1, 17), wrist_image: Int32Array.of(255) };
    return { ...chunk, keptPatches };
  }
}

test('off by default: no page, no address', async () => {
  await served(new FakePolicy({ immediate: true }), {}, async ({ server, act }) => {
    assert.is(server.liveUrl, null);
    for (const page of ['live', 'live/events', 'live/report'])
      assert.is((await fetch(`${act}/${page}`)).status, 404);
  });
});

test('while nobody looks nothing is read, copied or sent; while somebody does, it is', async () => {
  const policy = new WatchedPolicy();
  await served(policy, { live: true }, async ({ act, openpi }) => {
    const robot = connect(openpi);
    await robot.next();
    const both = async (): Promise<void> => {
      assert.is((await post(act, actBody(1))).status, 200);
      robot.socket.send(openpiMessage(2));
      await robot.next();
    };
    await both();
    assert.is(policy.reads, 0);
    const looker = await looking(act);
    await both();
    await looker.next('picture');
    assert.ok(policy.reads > 0);
    looker.request.destroy();
    await until(async () => {
      const before = policy.reads;
      await both();
      return policy.reads === before;
    }, 'the page is gone, and nothing is read again');
    robot.socket.close();
  });
});

test('what a page is told: the policy, each request, its chunk, its pictures, and who sent it', async () => {
  const policy = new WatchedPolicy();
  await served(policy, { live: { deadlineMs: 250 } }, async ({ act, openpi, server }) => {
    assert.is(server.liveUrl, `${act}/live`);
    const looker = new Looker(`${act}/live/events`);
    const hello = await looker.next('hello');
    assert.equal(
      [hello.dimensions, hello.cameras, hello.grid, hello.chunk, hello.deadlineMs, hello.withoutPictures],
      [['x', 'y', 'gripper'], ['full_image', 'wrist_image'], 16, 2, 250, null],
    );
    await post(act, actBody(7));
    const asked = await looker.next('asked');
    assert.equal(
      [asked.number, asked.robot, asked.instruction],
      [1, 'this machine (/act)', 'pick up the bowl'],
    );
    const chunk = await looker.next('chunk');
    assert.equal([chunk.number, chunk.rows, chunk.actions], [1, 2, [7, 8, 9, 17, 18, 19]]);
    assert.equal([chunk.state, chunk.stages], [[7, 1, 2], { total: 1 }]);
    assert.ok((chunk.waitMs as number) >= 0 && (chunk.policyMs as number) >= 0);
    const picture = await looker.next('picture');
    const cameras = picture.cameras as {
      camera: string;
      jpeg: string;
      kept: { count: number; outline: string };
    }[];
    assert.equal(
      cameras.map(({ camera, kept }) => [camera, kept.count]),
      [
        ['full_image', 3],
        ['wrist_image', 1],
      ],
    );
    for (const { jpeg } of cameras) assert.is(Buffer.from(jpeg, 'base64').readUInt16BE(0), 0xffd8);
    // the last patch of a grid of 16 is the square from 15, 15 to 16, 16
    assert.is(cameras[1]!.kept.outline, 'M15 15h1M15 16h1M15 15v1M16 15v1');

    for (const [field, name] of [
      ['', 'this machine (/act)'],
      [', "robot": "left arm"', 'left arm'],
    ]) {
      await post(act, `{"instruction": "go"${field}}`);
      const { code, robot } = await looker.next('refused');
      assert.equal([code, robot], ['CAMERA_MISSING', name]);
    }
    await post(act, toJson(fields(1).set('robot', 'left arm')));
    assert.is((await looker.next('asked')).robot, 'left arm');
    const robot = connect(openpi);
    await robot.next();
    robot.socket.send(openpiMessage(3));
    await robot.next();
    assert.match(String((await looker.next('asked')).robot), /^this machine:\d+ \(openpi\)$/);
    await post(act, '{');
    assert.is((await looker.next('refused')).code, 'REQUEST_INVALID');
    looker.request.destroy();
    robot.socket.close();
  });
});

test('pictures of the robot that a page has chosen, and of no other', async () => {
  await served(new FakePolicy({ immediate: true }), { live: true }, async ({ act }) => {
    const looker = new Looker(`${act}/live/events?robot=b`);
    await looker.next('hello');
    await post(act, toJson(fields(1).set('robot', 'a')));
    await post(act, toJson(fields(1).set('robot', 'b')));
    assert.is((await looker.next('picture')).robot, 'b');
    assert.equal(
      looker.told.filter(({ name }) => name === 'chunk').map(({ data }) => data.robot),
      ['a', 'b'],
    );
    looker.request.destroy();
  });
});

test('hostile texts stay texts, and are cut', async () => {
  const hostile = 'x\n\nevent: chunk\ndata: {}\n\n\r</script>\u2028"';
  await served(new FakePolicy({ immediate: true }), { live: true }, async ({ act }) => {
    const looker = await looking(act);
    const body = fields(1)
      .set('instruction', hostile)
      .set('robot', `${hostile}${'r'.repeat(500)}`);
    assert.is((await post(act, toJson(body))).status, 200);
    const asked = await looker.next('asked');
    assert.is(asked.instruction, hostile);
    assert.is((asked.robot as string).length, 64);
    const long = await post(act, toJson(fields(1).set('instruction', 'long '.repeat(10_000))));
    assert.is(long.status, 200, await long.text());
    assert.is(((await looker.next('asked')).instruction as string).length, 500);
    // a name that is no text is no name
    await post(act, toJson(fields(1).set('robot', ['a', 'b'])));
    await until(() => looker.told.filter(({ name }) => name === 'chunk').length === 3, 'three chunks');
    assert.is((await looker.next('asked')).robot, 'this machine (/act)');
    looker.request.destroy();
  });
  const platform = { ...liberoPlatform, cameras: ['<script>alert(1)</script>'] };
  const page = livePage({ variant: '<img src=x>', platform });
  assert.not.match(page, /<script>alert|<img/);
});

test('the page runs its own script and nothing else, loads nothing, and nobody frames it', async () => {
  await served(new FakePolicy({ immediate: true }), { live: true }, async ({ act, openpi }) => {
    for (const url of [act, openpi.replace('ws', 'http')]) {
      const answer = await fetch(`${url}/live`);
      assert.is(answer.headers.get('content-security-policy'), livePagePolicy);
      assert.is(answer.headers.get('x-content-type-options'), 'nosniff');
      const text = await answer.text();
      const [, script] = /<script type="module">([\s\S]*?)<\/script>/.exec(text)!;
      const digest = createHash('sha256').update(script!).digest('base64');
      assert.ok(livePagePolicy.includes(`script-src 'sha256-${digest}'`));
      assert.not.match(livePagePolicy, /unsafe|\*|https?:/);
      assert.match(livePagePolicy, /default-src 'none'.*frame-ancestors 'none'/);
      assert.not.match(script!, /^(?:import|export) /m);
      assert.not.match(script!, /innerHTML|insertAdjacentHTML|document\.write|eval\(/);
      const addresses = [...text.matchAll(/(?:https?:)?\/\/[\w.-]+\.\w+/g)].map(([address]) => address);
      assert.equal([...new Set(addresses)], ['http://www.w3.org']);
    }
  });
});

test('access is that of every page: loopback without web pages, else the token, which a browser asks for', async () => {
  const token = 'correct-horse-battery-staple-0451';
  await served(new FakePolicy({ immediate: true }), { live: true }, async ({ act }) => {
    const status = async (page: string, headers: Record<string, string>): Promise<number> => {
      const answer = await fetch(`${act}/${page}`, { headers });
      await answer.body?.cancel();
      return answer.status;
    };
    assert.is(await status('live', { origin: 'https://example.com' }), 403);
    assert.is(await status('live/events', { origin: 'https://example.com' }), 403);
    assert.is(await status('live/events', { 'sec-fetch-site': 'cross-site' }), 403);
    assert.is(await status('live', { 'sec-fetch-site': 'cross-site' }), 200);
    assert.is((await fetch(`${act}/live/events`, { method: 'HEAD' })).status, 200);
  });
  await served(new FakePolicy({ immediate: true }), { live: true, token }, async ({ act }) => {
    for (const page of ['live', 'live/events']) {
      const answer = await fetch(`${act}/${page}`);
      assert.is(answer.status, 401);
      assert.match(answer.headers.get('www-authenticate')!, /^Basic realm=/);
    }
    const other = await fetch(`${act}/metadata`);
    assert.is(other.headers.get('www-authenticate'), 'Bearer');
    assert.is((await fetch(`${act}/live/report`, { method: 'POST', body: '{}' })).status, 401);
    const basic = Buffer.from(`anybody:${token}`).toString('base64');
    const looker = await looking(act, { authorization: `Basic ${basic}` });
    looker.request.destroy();
  });
});

/** A response that takes as much as it is told to. */
class FakeResponse extends EventEmitter {
  written: string[] = [];
  isFull = false;

  writeHead(): this {
    return this;
  }

  write(text: string): boolean {
    this.written.push(text);
    return !this.isFull;
  }
}

test('a slow page: what waits is bounded, the oldest gives way and is counted, pictures never wait', () => {
  const response = new FakeResponse();
  const viewer = new Viewer(response as unknown as ServerResponse, null, {});
  response.isFull = true;
  viewer.send('first');
  assert.not.ok(viewer.isReady);
  const kilobyte = 'k'.repeat(1024);
  for (let i = 0; i < 1000; i++) viewer.send(`${i}:${kilobyte}`);
  viewer.send('a picture', false);
  assert.equal(response.written, ['first']);
  assert.ok(viewer.blockedFor(performance.now() + 5000) >= 5000);
  response.isFull = false;
  response.emit('drain');
  const late = response.written[1]!;
  assert.ok(late.length <= 257 * 1024, `${late.length} bytes waited`);
  assert.not.match(late, /a picture/);
  const [, skipped] = /^event: skipped\ndata: \{"events":(\d+)\}\n\n/.exec(late)!;
  const kept = late.split(':k').length - 1;
  assert.is(Number(skipped) + kept, 1000);
  assert.ok(late.endsWith(kilobyte) && late.includes('999:'));
  assert.ok(viewer.isReady);
  viewer.send('next');
  assert.is(response.written.at(-1), 'next');
  assert.is(viewer.blockedFor(performance.now()), 0);
});

test('a page that reads nothing delays no answer; pages are bounded; the server ends them when it closes', async () => {
  await served(new FakePolicy({ immediate: true }), { live: true }, async ({ act, server }) => {
    const deaf = await looking(act);
    deaf.response!.pause();
    for (let i = 0; i < 40; i++) assert.is((await post(act, actBody(i, 64))).status, 200);
    assert.is(await metric(server, 'semanticvla_requests_total{protocol="act",code="OK"}'), 40);
    const others = await Promise.all(Array.from({ length: 7 }, () => looking(act)));
    assert.is((await fetch(`${act}/live/events`)).status, 503);
    others[0]!.request.destroy();
    await until(async () => {
      const looker = new Looker(`${act}/live/events`);
      await until(() => looker.response !== null, 'an answer');
      if (looker.response!.statusCode === 200) others[0] = looker;
      return looker.response!.statusCode === 200;
    }, 'the place is free again');
    await server.close();
    await until(() => others.every(({ isEnded }) => isEnded), 'all pages ended');
  });
});

test('reports: read only while somebody looks, checked, and their times counted back from their arrival', async () => {
  await served(new FakePolicy({ immediate: true }), { live: true }, async ({ act }) => {
    const report = async (body: string, type = 'application/json'): Promise<readonly [number, string]> => {
      const answer = await fetch(`${act}/live/report`, {
        method: 'POST',
        body,
        headers: { 'content-type': type },
      });
      return [answer.status, await answer.text()];
    };
    assert.equal(await report('not even JSON'), [200, '{"watched":false}']);
    assert.is((await report('{}', 'text/plain'))[0], 415);
    assert.is((await report(' '.repeat(65 * 1024)))[0], 413);
    const looker = await looking(act);
    const body = {
      robot: 'left arm',
      periodMs: 50,
      sent: [{ ago: 60_000, values: [1, 2, 3], held: true }],
      events: [{ ago: 5, type: 'hold', reason: 'idle', dimensions: ['x'] }],
      lost: 2,
    };
    assert.equal(await report(JSON.stringify(body)), [200, '{"watched":true}']);
    const loop = await looker.next('loop');
    assert.equal([loop.robot, loop.periodMs, loop.lost], ['left arm', 50, 2]);
    const [sent] = loop.sent as { at: number; values: number[]; held: boolean }[];
    const [event] = loop.events as { at: number; type: string; reason: string; dimensions: string[] }[];
    assert.equal([sent!.values, sent!.held], [[1, 2, 3], true]);
    assert.equal([event!.type, event!.reason, event!.dimensions], ['hold', 'idle', ['x']]);
    // both were counted back from the same moment, rounded to a tenth
    assert.ok(Math.abs(event!.at - sent!.at - 59_995) <= 0.11);
    const [status, text] = await report('{"robot": ""}');
    assert.is(status, 400);
    assert.match(text, /a name of at most 64 characters/);
    assert.is((await post(act, actBody(1))).status, 200);
    looker.request.destroy();
  });
});

test('reports that no loop would send are refused by name', () => {
  const robot = 'a';
  const wrong: readonly (readonly [unknown, RegExp])[] = [
    [[], /an object for a report, found a list of 0/],
    [{}, /"robot", found none/],
    [{ robot: 'n'.repeat(65) }, /"robot"/],
    [{ robot, periodMs: -1 }, /"periodMs", found -1/],
    [{ robot, sent: {} }, /"sent", found an object/],
    [{ robot, sent: new Array(257).fill({ ago: 1, values: [] }) }, /at most 256/],
    [{ robot, sent: [{ ago: 1, values: ['1'] }] }, /finite numbers/],
    [{ robot, sent: [{ ago: 1, values: new Array(65).fill(0) }] }, /at most 64 finite/],
    [{ robot, sent: [{ values: [] }] }, /"ago", found none/],
    [{ robot, events: [{ ago: 1, type: 'dance' }] }, /hold, limited, missed, reset in "type", found "dance"/],
    [{ robot, events: [{ ago: 1, type: 'hold', reason: 3 }] }, /a text, found 3/],
    [{ robot, events: new Array(65).fill({ ago: 1, type: 'reset' }) }, /at most 64/],
  ];
  for (const [body, message] of wrong) {
    assert.throws(
      () => readReport(JSON.stringify(body)),
      (error: unknown) =>
        error instanceof SemanticVlaError && error.code === 'REQUEST_INVALID' && message.test(error.message),
    );
  }
  const cut = readReport(
    JSON.stringify({ robot, events: [{ ago: 0, type: 'hold', reason: 'r'.repeat(200) }] }),
  );
  assert.is(cut.events[0]!.reason.length, 80);
});

test('an event is one line of data, whatever is in it', () => {
  const event = sseEvent('chunk', { text: 'a\r\n\ndata: b' });
  assert.is(event.split('\n').length, 4);
  assert.equal(JSON.parse(event.split('\n')[1]!.slice('data: '.length)), { text: 'a\r\n\ndata: b' });
});

test('docs/live.md: its flags, and its report as curl posts it', async () => {
  const page = readFileSync(join(root, 'docs/live.md'), 'utf8');
  const block = (language: string, word: string): string => {
    const found = [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(
      ([, text]) => text!,
    );
    return found.find((text) => text.includes(word))!;
  };
  const { stdout } = cli('serve', '--help');
  for (const flag of block('sh', 'serve').match(/--[a-z-]+/g)!) assert.ok(stdout.includes(flag), flag);
  const body = block('json', 'periodMs');
  assert.is(readReport(body).events.length, 2);
  await served(new FakePolicy({ immediate: true }), { live: true }, async ({ act }) => {
    const looker = await looking(act);
    const code = block('sh', 'curl').replace('http://127.0.0.1:8777', act).replace('@report.json', '@-');
    const curl = spawn('sh', ['-ec', code], { stdio: ['pipe', 'pipe', 'inherit'] });
    curl.stdin.end(body);
    let out = '';
    curl.stdout.on('data', (data: Buffer) => {
      out += data.toString();
    });
    assert.equal(await once(curl, 'close'), [0, null]);
    assert.is(out, '{"watched":true}');
    assert.is((await looker.next('loop')).robot, 'left arm');
    looker.request.destroy();
  });
});

test.run();
