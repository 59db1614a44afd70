/**
 * A hub on loopback: the three addresses that a download asks, repositories of any files, and every way in which such a server
 * disappoints: cuts, no ranges, damage, refusals, another host for the bytes.
 */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

export type Files = Readonly<Record<string, Buffer>>;

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  /** Body bytes of the answer that were sent. */
  sent: number;
}

export interface Faults {
  /** Connections that carry a file end after this many bytes; each time, or as often as the list is long. */
  cutAfter?: number[];
  ignoresRanges?: boolean;
  /** Status of the requests for files. */
  status?: number;
  /** Status of the first requests, whatever they are for. */
  statusOfAll?: { status: number; code?: string };
  /** Changes a file's bytes as they are sent. */
  damage?: (path: string, bytes: Buffer) => Buffer;
  /** Changes what the list says. */
  list?: (entries: object[]) => unknown;
  /** Files are at this address. */
  redirect?: string;
  /** Bytes a millisecond, about. */
  slow?: number;
  token?: string;
}

const sha = (kind: string, ...parts: (string | Buffer)[]): string => {
  const hash = createHash(kind);
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

/** Files below a folder, by path. */
export function filesOf(folder: string): Files {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  return Object.fromEntries(
    entries.map((entry) => {
      const file = join(entry.parentPath, entry.name);
      return [file.slice(folder.length + 1), readFileSync(file)];
    }),
  );
}

export class Hub {
  readonly asked: Asked[] = [];
  faults: Faults = {};
  /** Files of a list's page. */
  page = 5;
  /** `owner/name` -> branch or tag -> commit. */
  readonly #refs = new Map<string, Map<string, string>>();
  readonly #commits = new Map<string, Files>();
  #server: Server | null = null;

  get url(): string {
    return `http://127.0.0.1:${(this.#server!.address() as AddressInfo).port}`;
  }

  async start(): Promise<this> {
    this.#server = createServer((request, response) => void this.#answer(request, response));
    await new Promise<void>((resolve) => {
      this.#server!.listen(0, '127.0.0.1', resolve);
    });
    return this;
  }

  async close(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => {
      this.#server!.close(resolve);
    });
  }

  /** @returns the commit */
  commit(repo: string, files: Files, ...refs: string[]): string {
    const commit = sha('sha1', ...Object.entries(files).flat());
    this.#commits.set(`${repo} ${commit}`, files);
    const known = this.#refs.get(repo) ?? new Map<string, string>();
    for (const ref of refs) known.set(ref, commit);
    this.#refs.set(repo, known);
    return commit;
  }

  /** Large ones and weights are kept by SHA-256, as LFS keeps them; the others by git's sum. */
  static sumOf(path: string, bytes: Buffer): { readonly lfs: boolean; readonly hex: string } {
    const lfs = /\.(safetensors|pt|model|bin)$/.test(path);
    return { lfs, hex: lfs ? sha('sha256', bytes) : sha('sha1', `blob ${bytes.length}\0`, bytes) };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, 'http://hub');
    const asked: Asked = {
      method: request.method!,
      path: url.pathname,
      range: request.headers.range,
      authorization: request.headers.authorization,
      sent: 0,
    };
    this.asked.push(asked);
    const json = (status: number, value: unknown, headers: Record<string, string> = {}): void => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(JSON.stringify(value));
    };
    const refuse = (status: number, code: string): void =>
      json(status, { error: code }, { 'x-error-code': code });
    const { token, statusOfAll } = this.faults;
    if (statusOfAll !== undefined) return refuse(statusOfAll.status, statusOfAll.code ?? '');
    if (token !== undefined && asked.authorization !== `Bearer ${token}`) return refuse(401, 'RepoNotFound');
    const [, api, repo, rest] =
      /^\/(api\/models\/)?([^/]+\/[^/]+)\/(?:revision\/|tree\/|resolve\/)(.+)$/.exec(url.pathname) ?? [];
    const refs = this.#refs.get(repo ?? '');
    if (refs === undefined) return refuse(404, 'RepoNotFound');
    if (url.pathname.includes('/revision/')) {
      const revision = decodeURIComponent(rest!);
      const commit = refs.get(revision) ?? (this.#commits.has(`${repo} ${revision}`) ? revision : undefined);
      if (commit === undefined) return refuse(404, 'RevisionNotFound');
      const lastModified = new Date(0).toISOString();
      return json(200, {
        _id: '1',
        id: repo,
        sha: commit,
        private: false,
        downloads: 0,
        likes: 0,
        lastModified,
      });
    }
    const [given] = rest!.split('/', 1);
    const commit = refs.get(given!) ?? given!;
    const files = this.#commits.get(`${repo} ${commit}`);
    if (files === undefined) return refuse(404, 'RevisionNotFound');
    if (api !== undefined) return this.#list(url, files, json);
    await this.#send(
      decodeURIComponent(rest!.slice(given!.length + 1)),
      commit,
      files,
      asked,
      response,
      refuse,
    );
  }

  #list(
    url: URL,
    files: Files,
    json: (status: number, value: unknown, headers?: Record<string, string>) => void,
  ) {
    const folders = new Set(
      Object.keys(files).flatMap((path) => (path.includes('/') ? [path.split('/')[0]!] : [])),
    );
    const entries = [
      ...[...folders].map((path) => ({ type: 'directory', oid: '0'.repeat(40), size: 0, path })),
      ...Object.entries(files).map(([path, bytes]) => {
        const { lfs, hex } = Hub.sumOf(path, bytes);
        const size = bytes.length;
        return lfs
          ? { type: 'file', oid: '1'.repeat(40), size, path, lfs: { oid: hex, size, pointerSize: 134 } }
          : { type: 'file', oid: hex, size, path };
      }),
    ];
    if (this.faults.list !== undefined) return json(200, this.faults.list(entries));
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const next = new URL(url.pathname + url.search, this.url);
    next.searchParams.set('cursor', String(from + this.page));
    const link = from + this.page < entries.length ? { link: `<${next}>; rel="next"` } : undefined;
    json(200, entries.slice(from, from + this.page), link);
  }

  async #send(
    path: string,
    commit: string,
    files: Files,
    asked: Asked,
    response: ServerResponse,
    refuse: (status: number, code: string) => void,
  ): Promise<void> {
    const { faults } = this;
    const whole = files[path];
    if (whole === undefined) return refuse(404, 'EntryNotFound');
    if (faults.status !== undefined) return refuse(faults.status, faults.status === 403 ? 'GatedRepo' : '');
    if (faults.redirect !== undefined) {
      response.writeHead(302, { location: `${faults.redirect}${asked.path}` });
      response.end();
      return;
    }
    const sum = Hub.sumOf(path, whole);
    if (asked.method === 'HEAD') {
      // what Python's client asks first
      const size = { 'x-linked-size': String(whole.length), 'x-linked-etag': `"${sum.hex}"` };
      const common = {
        etag: `"${sum.hex}"`,
        'content-length': String(whole.length),
        'x-repo-commit': commit,
      };
      response.writeHead(200, { ...common, ...(sum.lfs ? size : {}) });
      response.end();
      return;
    }
    const bytes = faults.damage?.(path, whole) ?? whole;
    const from = faults.ignoresRanges ? 0 : Number(/^bytes=(\d+)-$/.exec(asked.range ?? '')?.[1] ?? 0);
    const isPart = asked.range !== undefined && !faults.ignoresRanges;
    response.writeHead(isPart ? 206 : 200, {
      'content-length': String(bytes.length - from),
      etag: `"${sum.hex}"`,
      ...(isPart ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
    });
    const limit = faults.cutAfter?.shift() ?? Number.POSITIVE_INFINITY;
    for (let at = from; at < bytes.length; ) {
      const size = Math.min(
        faults.slow === undefined ? 1 << 16 : faults.slow * 20,
        bytes.length - at,
        limit - asked.sent,
      );
      if (size <= 0) {
        response.destroy();
        return;
      }
      await new Promise((resolve) => {
        response.write(bytes.subarray(at, at + size), resolve);
      });
      if (response.destroyed) return;
      at += size;
      asked.sent += size;
      if (faults.slow !== undefined) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    response.end();
  }
}
