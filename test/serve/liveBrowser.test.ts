/** The live page in a real browser, beside the shipped policy: what it shows is what was asked, answered and reported. */

import type { Browser, Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connectAct, connectOpenpi } from '../../lib/client/connect.ts';
import { servePolicy } from '../../lib/serve/servePolicy.ts';
import type { ActionChunk, Policy } from '../../lib/types.ts';
import { findBrowser, startBrowser } from '../helpers/browser.ts';
import { testWhen } from '../helpers/skip.ts';
import { libero } from '../helpers/trained.ts';
import { post, served, silent, until } from './harness.ts';

const test = suite('live page in a browser');

const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
const path = findBrowser();
const check = (name: string, body: () => Promise<void>): void =>
  testWhen(
    isLong && path !== null,
    isLong
      ? 'no chromium or google-chrome on PATH (apt-get install chromium)'
      : 'it starts a browser; SEMANTICVLA_LONG_TESTS=1 runs it',
    test,
    name,
    body,
  );

let browser: Promise<Browser> | null = null;

/** Requests beyond the page's own server, console lines and errors. */
async function opened(
  url: string,
  look: (page: Page, events: readonly string[]) => Promise<void>,
  token?: string,
): Promise<void> {
  browser ??= startBrowser(path!);
  const context = await (await browser).newContext({
    viewport: { width: 1240, height: 1350 },
    ...(token === undefined ? {} : { httpCredentials: { username: 'robot', password: token } }),
  });
  // a machine full of other work is slow, not wrong
  context.setDefaultTimeout(120_000);
  const events: string[] = [];
  context.on('request', (request) => {
    if (!request.url().startsWith(url)) events.push(`request ${request.url()}`);
  });
  context.on('console', (message) => events.push(`${message.type()}: ${message.text()}`));
  try {
    const page = await context.newPage();
    page.on('pageerror', (error) => events.push(`error: ${error.message}`));
    await page.goto(url);
    await look(page, events);
  } finally {
    await context.close();
  }
}

const texts = (page: Page, selector: string): Promise<string[]> => page.locator(selector).allTextContents();

async function shows(page: Page, selector: string, words: RegExp): Promise<void> {
  await until(async () => words.test((await texts(page, selector)).join(' | ')), `${selector}: ${words}`);
}

const { samples } = libero;

/** A chunk is asked for, and its rows reported as sent, as a loop would that plays half of each. */
async function drive(
  policy: Policy,
  robot: string,
  act: string,
  steps: readonly number[],
  pauseMs: number,
): Promise<ActionChunk[]> {
  const chunks: ActionChunk[] = [];
  for (const step of steps) {
    const sample = samples[step]!;
    const chunk = await policy.predict(await libero.observation(sample), { instruction: sample.instruction });
    chunks.push(chunk);
    const [, columns] = chunk.shape;
    const rows = [0, 1, 2, 3].map((row) => ({
      ago: (3 - row) * 50,
      values: [...chunk.actions.subarray(row * columns, (row + 1) * columns)],
      held: false,
    }));
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    const answer = await fetch(`${act}/live/report`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ robot, periodMs: 50, sent: rows }),
    });
    assert.equal(await answer.json(), { watched: true });
  }
  return chunks;
}

const report = (act: string, body: object): Promise<Response> =>
  fetch(`${act}/live/report`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

check(
  'two robots: frames, kept patches, chunks, holds, limits and times, and nothing asked of others',
  async () => {
    await using policy = await libero.open();
    await served(policy, { live: { deadlineMs: 400 } }, async ({ server, act, openpi }) => {
      await opened(server.liveUrl!, async (page, events) => {
        await shows(page, '#link', /connected/);
        await using left = await connectAct(act, { deadlineMs: 60_000, robot: 'left arm' });
        await using right = await connectOpenpi(openpi, { deadlineMs: 60_000, robot: 'right arm' });
        const chunks = await drive(left, 'left arm', act, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 200);
        const last = samples[9]!;
        await shows(page, '#sentence', new RegExp(last.instruction));
        // what the page says was kept is what the policy says
        const own = await policy.predict(await libero.observation(last), { instruction: last.instruction });
        const kept = Object.values(own.keptPatches)[0]!.length;
        await shows(page, '#cameras', new RegExp(`${kept} of ${policy.patchGrid ** 2} patches kept`));
        const cameras = policy.platform.cameras.length;
        assert.is(await page.locator('#cameras image').count(), cameras);
        assert.is(await page.locator('#cameras path.kept').count(), cameras);
        const sizes = await page.locator('#cameras image').evaluateAll((images) =>
          Promise.all(
            images.map(async (image) => {
              const picture = new (
                globalThis as unknown as {
                  Image: new () => { src: string; naturalWidth: number; decode(): Promise<void> };
                }
              ).Image();
              picture.src = (image as unknown as { getAttribute(name: string): string }).getAttribute('href');
              await picture.decode();
              return picture.naturalWidth;
            }),
          ),
        );
        assert.ok(
          sizes.every((size) => size >= 64),
          `${sizes}`,
        );
        // each dimension has the newest chunk, earlier ones, and what was sent
        const { length } = policy.dimensions;
        assert.is(await page.locator('#actions path.bold').count(), length);
        assert.ok((await page.locator('#actions path.earlier').count()) >= length);
        assert.is(await page.locator('#actions path.sent').count(), length);
        assert.ok((await page.locator('#actions path.sent').first().getAttribute('d'))!.length > 20);
        await shows(page, '#actions-note', /rows 50 ms apart \(as its loop reports\)/);
        const [rows] = chunks[0]!.shape;
        assert.is(await page.locator('#actions circle').count(), rows * length);

        await report(act, {
          robot: 'left arm',
          events: [
            { ago: 30, type: 'hold', reason: 'idle' },
            { ago: 20, type: 'limited', reason: 'step', dimensions: [policy.dimensions[0]!] },
          ],
          sent: [{ ago: 30, values: new Array(length).fill(0), held: true }],
        });
        await shows(page, '#log', /HOLD: idle/);
        await shows(page, '#log', new RegExp(`Limited: ${policy.dimensions[0]} by step`));
        await until(
          async () => (await page.locator('#actions path.held').count()) === length,
          'the HOLD in the plot',
        );
        assert.is(await page.locator('#actions path.limited').count(), 1);
        assert.is((await post(act, '{"state": [1], "robot": "left arm"}')).status, 422);
        await shows(page, '#log', /CAMERA_MISSING/);
        assert.is(await page.locator('#latency rect.request').count(), 10);
        await shows(page, '#latency', /deadline 400 ms/);

        // the other robot, and only its pictures
        await drive(right, 'right arm', act, [12, 13, 14], 20);
        await page.getByRole('button', { name: 'right arm' }).click();
        await drive(right, 'right arm', act, [15, 16], 20);
        await shows(page, '#sentence', new RegExp(samples[16]!.instruction));
        await shows(page, '#tiles', /p50 of 5/);

        // frozen, the picture stays, and one can walk back
        const note = (): Promise<string | null> => page.locator('#picture-note').textContent();
        await page.getByRole('button', { name: 'Freeze' }).click();
        const frozen = await note();
        await drive(right, 'right arm', act, [17], 150);
        assert.is(await note(), frozen);
        await page.keyboard.press('Tab');
        await page.locator('#back').click();
        assert.is.not(await note(), frozen);
        await page.getByRole('button', { name: 'Freeze' }).click();
        await shows(page, '#sentence', new RegExp(samples[17]!.instruction));
        assert.equal(events, []);
      });
    });
  },
);

const token = 'correct-horse-battery-staple-0451';

check('behind the token; a server that goes and comes back; a sentence made to break the page', async () => {
  await using policy = await libero.open();
  const hostile = '</script><img src=x onerror=alert(1)> pick "it" up & \u2028 go';
  const sample = samples[0]!;
  const observation = await libero.observation(sample);
  let port = 0;
  const ask = async (act: string): Promise<void> => {
    await using robot = await connectAct(act, {
      deadlineMs: 60_000,
      token,
      robot: '<b onclick=alert(1)>arm</b>',
    });
    await robot.predict(observation, { instruction: hostile });
  };
  const options = (at: number) => ({ token, live: true, act: { port: at }, openpi: false as const });
  await served(policy, options(0), async ({ server, act }) => {
    port = Number(new URL(act).port);
    const refused = await fetch(server.liveUrl!);
    assert.is(refused.status, 401);
    assert.match(refused.headers.get('www-authenticate')!, /^Basic /);
    await refused.arrayBuffer();
  });
  const first = await servePolicy(policy, { ...options(port), logger: silent });
  let second: typeof first | null = null;
  try {
    await opened(
      first.liveUrl!,
      async (page, events) => {
        await shows(page, '#link', /connected/);
        await ask(first.actUrl!);
        await until(
          async () => (await texts(page, '#sentence'))[0] === `“${hostile}”`,
          'the sentence, as text',
        );
        assert.is(await page.locator('#sentence *, #robots b, img').count(), 0);
        assert.equal(events, []);
        await first.close();
        await shows(page, '#link', /no connection/);
        second = await servePolicy(policy, { ...options(port), logger: silent });
        await shows(page, '#link', /connected/);
        await ask(second.actUrl!);
        await shows(page, '#tiles', /p50 of 2/);
        // the browser itself writes a line while the server is away
        assert.equal(
          events.filter((line) => !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED/.test(line)),
          [],
        );
      },
      token,
    );
  } finally {
    await first.close();
    await (second as typeof first | null)?.close();
  }
});

check('the browser ends', async () => {
  await (await browser)?.close();
});

test.run();
