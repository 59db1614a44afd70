/**
 * The least that a server in Node can do with the same bytes: read them, answer as many as a chunk takes. `http` through
 * Node's HTTP server, `socket` without: it looks for the length in the first piece and counts.
 *
 *   node --import tsx bench/serve/floorServer.ts http|socket
 */

import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server } from 'node:net';

const answer = 'x'.repeat(950);
const whole = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${answer.length}\r\n\r\n${answer}`;

function httpFloor(): Server {
  return createHttpServer((request, response) => {
    request
      .on('data', () => {})
      .on('end', () => {
        response
          .writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length })
          .end(answer);
      });
  });
}

function socketFloor(): Server {
  return createServer({ noDelay: true }, (socket) => {
    let missing = 0;
    socket.on('error', () => {});
    socket.on('data', (data) => {
      if (missing === 0) {
        const end = data.indexOf('\r\n\r\n');
        missing = end + 4 + Number(/content-length: (\d+)/.exec(data.toString('latin1', 0, end))?.[1]);
      }
      missing -= data.length;
      if (missing === 0) socket.write(whole);
    });
  });
}

const server = process.argv[2] === 'socket' ? socketFloor() : httpFloor();
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  process.stdout.write(`${JSON.stringify({ act: `http://127.0.0.1:${port}`, openpi: '' })}\n`);
});
// Connections of the bench are closed by the time it stops a server.
process.on('SIGTERM', () => server.close());
