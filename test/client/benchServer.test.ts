/** `benchServer` and `bench --url` against a server in this process, whose policy ends when it is told to. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { benchUrls, checkUrlFlags, serverText, urlConditions } from '../../lib/cli/benchUrl.ts';
import type { CommandContext } from '../../lib/cli/context.ts';
import { type BenchServerOptions, benchServer, type ServerBench } from '../../lib/client/benchServer.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { randomObservation } from '../../lib/synth/randomObservation.ts';
import { inFolder, startCli } from '../helpers/cli.ts';
import { FakePolicy, liberoPlatform } from '../serve/fakePolicy.ts';
import { served } from '../serve/harness.ts';

const test = suite('bench of a running server');
const observation = randomObservation(liberoPlatform.cameras, { width: 8, height: 6 }, 3);
const brief: BenchServerOptions = {
  observation,
  warmUp: 2,
  iterations: 6,
  durationMs: 0,
  percentiles: [99.9],
};

test('both protocols, several clients: every answer is counted, the time in the policy is part of it', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ act, openpi }) => {
    for (const [url, protocol] of [
      [act, 'act'],
      [openpi, 'openpi'],
    ] as const) {
      const before = policy.calls.length;
      const report = await benchServer(url, { ...brief, clients: 3 });
      assert.is(policy.calls.length - before, 3 * (2 + 6));
      assert.is(report.protocol, protocol);
      assert.is(report.variant, 'SemanticVLA');
      assert.equal([report.answered, report.missed, report.errors], [18, 0, {}]);
      assert.is(report.latency!.count, 18);
      assert.equal(Object.keys(report.latency!.percentiles!), ['99.9']);
      // POST /act carries rows of numbers and nothing else
      if (protocol === 'act') assert.is(report.inference, null);
      else assert.ok(report.inference!.count === 18 && report.inference!.max <= report.latency!.max);
      assert.equal(
        report.perClient.map(({ answered }) => answered),
        [6, 6, 6],
      );
      assert.match(serverText(report), /^clients +3 at once$/m);
      assert.match(serverText(report), /^client 3 +[\d.]/m);
    }
  });
});

test('at a rate: ticks that pass while a request is on its way are missed, and the text says so', async () => {
  const policy = new FakePolicy();
  await served(policy, {}, async ({ openpi }) => {
    const measured = benchServer(openpi, { ...brief, warmUp: 0, iterations: 4, rateHz: 50 });
    for (let i = 0; i < 4; i++) {
      await policy.called(i + 1);
      // at least three periods of 20 ms
      await new Promise((resolve) => setTimeout(resolve, 65));
      policy.calls[i]!.finish();
    }
    const report = await measured;
    assert.is(report.answered, 4);
    assert.ok(report.missed >= 4 * 2, `${report.missed}`);
    const ticks = 4 + report.missed;
    assert.match(
      serverText(report),
      new RegExp(`50 Hz, asked each 20\\.0 ms: ${report.missed} of ${ticks} ticks missed`),
    );
  });
});

test('failures are counted by their code; one in the warm-up ends it', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ act }) => {
    const { predict } = policy;
    let calls = 0;
    policy.predict = (...args) => {
      if (++calls % 2 === 0) return Promise.reject(new SemanticVlaError('IMAGE_INVALID', 'not today'));
      return predict.apply(policy, args);
    };
    const report = await benchServer(act, { ...brief, warmUp: 0 });
    assert.equal([report.answered, report.errors], [3, { IMAGE_INVALID: 3 }]);
    assert.match(serverText(report), /^FAILED +3 IMAGE_INVALID$/m);
    await rejects(() => benchServer(act, brief), 'IMAGE_INVALID');
  });
});

async function rejects(body: () => Promise<unknown>, code: string, words = /./): Promise<void> {
  const error = await body().then(
    () => null,
    (reason: unknown) => reason,
  );
  assert.instance(error, SemanticVlaError);
  assert.is((error as SemanticVlaError).code, code);
  assert.match((error as SemanticVlaError).message, words);
}

test('what is missing or wrong is said', async () => {
  await rejects(() => benchServer('gpu:8777'), 'OPTION_INVALID', /http:\/\/host:port or ws:\/\/host:port/);
  await rejects(() => benchServer('http://127.0.0.1:1', brief), 'REMOTE_UNREACHABLE');
  await rejects(() => benchServer('http://127.0.0.1:1', { clients: 0 }), 'OPTION_INVALID', /for clients/);
  await rejects(() => benchServer('http://127.0.0.1:1', { rateHz: 0 }), 'OPTION_INVALID', /for rateHz/);
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ act }) => {
    const { observation: _, ...without } = brief;
    await rejects(
      () => benchServer(act, without),
      'OPTION_REQUIRED',
      /option observation, since it takes a joint state/,
    );
  });
  const frames = new FakePolicy({ immediate: true, platform: { ...liberoPlatform, proprio: false } });
  await served(frames, {}, async ({ act }) => {
    const { observation: _, ...without } = brief;
    assert.is((await benchServer(act, without)).answered, 6);
  });
  assert.throws(
    () =>
      checkUrlFlags(
        [
          ['url', '--url'],
          ['threads', '--threads'],
        ],
        [],
      ),
    (error: unknown) => error instanceof SemanticVlaError && /found --threads/.test(error.message),
  );
  assert.throws(() => checkUrlFlags([['url', '--url']], ['policy']), /found policy/);
  assert.throws(() => checkUrlFlags([['clients', '--clients']], ['policy']), /--clients: expected --url/);
  checkUrlFlags([['rate', '--rate']], ['policy']);
});

test('the command: JSON of every server and number of clients, from a folder', async () => {
  await inFolder(async (dir) => {
    writeFileSync(
      join(dir, 'observation.json'),
      JSON.stringify({
        instruction: 'lift',
        state: [1, 2, 3],
        images: { full_image: 'a.npy', wrist_image: 'a.npy' },
      }),
    );
    const head = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3), }".padEnd(117);
    const npy = Buffer.concat([
      Buffer.from('\x93NUMPY\x01\x00v\x00', 'latin1'),
      Buffer.from(`${head}\n`),
      Buffer.alloc(12),
    ]);
    writeFileSync(join(dir, 'a.npy'), npy);
    const policy = new FakePolicy({ immediate: true });
    await served(policy, {}, async ({ act, openpi }) => {
      const child = startCli(
        ...['bench', '--url', `${act}/act`, '--url', openpi, '--clients', '1,2', '--warm-up', '1'],
        ...['--iterations', '12', '--observation', dir, '--json', '--html', join(dir, 'page.html')],
        ...['--fail-if', 'p50 > 100s', '--fail-if', 'mean > 100s'],
      );
      let out = '';
      let err = '';
      child.stdout?.on('data', (data: Buffer) => (out += data.toString()));
      child.stderr?.on('data', (data: Buffer) => (err += data.toString()));
      const code = await new Promise((resolve) => child.on('close', resolve));
      assert.is(code, 0, err);
      const { servers, gate } = JSON.parse(out);
      assert.equal(
        servers.map((one: { protocol: string; clients: number; answered: number }) => [
          one.protocol,
          one.clients,
          one.answered,
        ]),
        [
          ['act', 1, 12],
          ['act', 2, 24],
          ['openpi', 1, 12],
          ['openpi', 2, 24],
        ],
      );
      assert.is(policy.calls.at(-1)!.options.instruction, 'lift');
      // every answered request of each, in the order asked; what the server says of its part in the policy is in it
      for (const { requests, answered, inference } of servers as ServerBench[]) {
        assert.is(requests.length, answered);
        const starts = requests.map(({ startMs }) => startMs);
        assert.equal(
          starts,
          [...starts].sort((a, b) => a - b),
        );
        for (const { stages } of requests) {
          assert.is(stages.policy === undefined, inference === null);
          assert.ok((stages.policy ?? 0) <= stages.total!);
        }
      }
      assert.equal(
        gate.map(({ condition, outcome }: { condition: string; outcome: string }) => [condition, outcome]),
        servers.flatMap(() => [
          ['p50 > 100s', 'pass'],
          ['mean > 100s', 'pass'],
        ]),
      );
      const page = readFileSync(join(dir, 'page.html'), 'utf8');
      const named = [act, `${act}, 2 clients`, openpi, `${openpi}, 2 clients`];
      for (const name of named) assert.match(page, new RegExp(`<th scope="row"[^>]*>${name}</th>`));
      for (const title of ['Latency histogram', 'Percentile curve', 'Latency over time'])
        assert.ok(page.includes(`>${title}</title>`), title);
      assert.ok(page.includes('p50 &gt; 100s'));
    });
  });
});

test('a limit that is passed ends with code 1; too few requests with 4; a server that answers nothing with 1', async () => {
  const printed: string[] = [];
  const context = {
    print: (text: string) => void printed.push(text),
    onProgress: () => {},
    signal: new AbortController().signal,
  } as unknown as CommandContext;
  const policy = new FakePolicy({ immediate: true, platform: { ...liberoPlatform, proprio: false } });
  await served(policy, {}, async ({ act, openpi }) => {
    const flags = { url: [openpi], warmUp: 1, iterations: 12 };
    assert.is(await benchUrls(context, { ...flags, failIf: ['p50 > 100s'] }), 0);
    assert.is(await benchUrls(context, { ...flags, failIf: ['p50 > 0.001us'] }), 1);
    assert.match(printed.at(-1)!, /p50 > 0\.001us/);
    assert.is(await benchUrls(context, { ...flags, failIf: ['policy.mean > 100s'] }), 0);
    assert.is(await benchUrls(context, { ...flags, failIf: ['p99.9 > 100s'] }), 4);
    policy.predict = () => Promise.reject(new SemanticVlaError('IMAGE_INVALID', 'not today'));
    assert.is(await benchUrls(context, { ...flags, url: [act], warmUp: 0, failIf: ['p50 > 100s'] }), 1);
  });
});

test('conditions that a server cannot be held to are refused before it is asked', () => {
  const refused = (text: string, url: string, words: RegExp): void => {
    assert.throws(
      () => urlConditions([text], [url]),
      (error: unknown) =>
        error instanceof SemanticVlaError && error.code === 'OPTION_INVALID' && words.test(error.message),
    );
  };
  refused('p50 > 1.05x', 'ws://a', /a limit in time, since a server has no --baseline/);
  refused('throughput < 5/s', 'ws://a', /found throughput/);
  refused('compute.p50 > 5ms', 'ws://a', /found stage compute/);
  refused('policy.p50 > 5ms', 'http://a', /found stage policy/);
  refused('p50', 'ws://a', /expected > or </);
  assert.is(urlConditions(['policy.p50 > 5ms', 'p99 > 0.1s'], ['ws://a', 'wss://b']).length, 2);
});

test.run();
