/** What is read past Node's HTTP server must be what Node would have read. */

import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readActHead } from '../../lib/serve/actHead.ts';
import { inTime } from './harness.ts';

const test = suite('head of POST /act');

const good = [
  'POST /act HTTP/1.1',
  'Host: 127.0.0.1:8777',
  'User-Agent: python-requests/2.34',
  'Accept-Encoding: gzip, deflate',
  'Connection: keep-alive',
  'Content-Length: 12',
  'Content-Type: application/json',
];

function head(lines: readonly string[]): Buffer {
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** The good one with a line instead of one that begins like it, or more. */
function withLine(line: string): Buffer {
  const name = line.split(':')[0]!.toLowerCase();
  return head([...good.filter((other) => other.split(':')[0]!.toLowerCase() !== name), line]);
}

test('reads what clients send', () => {
  const found = readActHead(Buffer.concat([head(good), Buffer.from('{"a": 1}')]));
  assert.is(found?.bodyBytes, 12);
  assert.is(found?.size, head(good).length);
  assert.is(found?.headers['content-type'], 'application/json');
  assert.is(found?.headers['accept-encoding'], 'gzip, deflate');
  assert.ok(readActHead(head(good.filter((line) => !/^(Conn|Acc|User|Content-T)/.test(line)))));
  assert.ok(readActHead(withLine('X-Empty:')));
  assert.ok(readActHead(withLine('X-Wide:  \t a  b \t')));
});

/** Each is Node's to read, or to refuse. */
const others: readonly [string, Buffer][] = [
  ['another method', head(['PUT /act HTTP/1.1', ...good.slice(1)])],
  ['another path', head(['POST /act/ HTTP/1.1', ...good.slice(1)])],
  ['a query', head(['POST /act?x=1 HTTP/1.1', ...good.slice(1)])],
  ['another version', head(['POST /act HTTP/1.0', ...good.slice(1)])],
  ['no host', head(good.filter((line) => !line.startsWith('Host')))],
  ['no length', head(good.filter((line) => !line.startsWith('Content-Length')))],
  ['two lengths', head([...good, 'Content-Length: 12'])],
  ['two lengths that differ', head([...good, 'content-length: 13'])],
  ['a length of nothing', withLine('Content-Length: 0')],
  ['a signed length', withLine('Content-Length: +12')],
  ['a hexadecimal length', withLine('Content-Length: 0x12')],
  ['a list of lengths', withLine('Content-Length: 12, 12')],
  ['a length with a leading zero', withLine('Content-Length: 012')],
  ['a length with an exponent', withLine('Content-Length: 1e9')],
  ['a chunked body', withLine('Transfer-Encoding: chunked')],
  ['an unknown coding', withLine('transfer-encoding: identity')],
  ['an expectation', withLine('Expect: 100-continue')],
  ['an upgrade', withLine('Upgrade: websocket')],
  ['a connection that ends', withLine('Connection: close')],
  ['a connection with options', withLine('Connection: keep-alive, x')],
  ['a name with a space', withLine('Content-Type : application/json')],
  ['a name with no text', withLine(': x')],
  ['a folded line', head([...good, ' folded'])],
  ['a line without a colon', head([...good, 'nothing'])],
  ['a bare line feed', head([...good, 'X: a\nTransfer-Encoding: chunked'])],
  ['a bare carriage return', head([...good, 'X: a\rb'])],
  ['a null', head([...good, 'X: a\0b'])],
  ['bytes beyond ASCII', head([...good, 'X: \u00e9'])],
  ['a header twice', head([...good, 'Authorization: a', 'authorization: b'])],
  ['half a head', head(good).subarray(0, -1)],
  ['a long head', withLine(`X: ${'y'.repeat(9000)}`)],
  ['many headers', head([...good, ...Array.from({ length: 80 }, (_, i) => `X${i}: 1`)])],
  ['no bytes', Buffer.alloc(0)],
];

test('and nothing else', () => {
  for (const [name, bytes] of others) assert.is(readActHead(bytes), null, name);
});

test('what it reads, Node reads alike: heads changed at random', async () => {
  let seen: IncomingMessage | null = null;
  const server = createServer((request, response) => {
    seen = request;
    request.resume().on('end', () => response.end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const pieces = [
    '\r\n',
    '\n',
    '\r',
    ' ',
    '\t',
    ':',
    ',',
    '\0',
    '\u00ff',
    '0',
    'X: y\r\n',
    'Host',
    '"',
    '\\',
  ];
  const text = head(good).toString('latin1');
  const changed = fc
    .array(fc.tuple(fc.nat(text.length), fc.nat(1), fc.constantFrom('', ...pieces)), {
      minLength: 1,
      maxLength: 3,
    })
    .map((edits) =>
      edits.reduce((line, [at, cut, piece]) => line.slice(0, at) + piece + line.slice(at + cut), text),
    );
  let compared = 0;
  try {
    for (const line of fc.sample(changed, { numRuns: 1500, seed: 5 })) {
      const bytes = Buffer.from(line, 'latin1');
      const found = readActHead(bytes);
      if (found === null) continue;
      compared++;
      seen = null;
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.write(
        Buffer.concat([bytes.subarray(0, found.size), Buffer.alloc(Math.min(found.bodyBytes, 1000))]),
      );
      await inTime(once(socket, 'data'), JSON.stringify(line)).catch((error) => {
        if (found.bodyBytes <= 1000) throw error;
      });
      socket.destroy();
      const { method, url, headers } = seen as unknown as IncomingMessage;
      assert.equal([method, url], ['POST', '/act'], line);
      assert.equal({ ...headers }, { ...found.headers }, line);
    }
  } finally {
    server.close();
    server.closeAllConnections();
  }
  assert.ok(compared >= 100, `${compared} of 1500 were read here`);
});

test.run();
