/** The least that an HTTP server in Node can do with the same bytes: read them, answer as many as a chunk takes. */

import { createServer } from 'node:http';

const answer = 'x'.repeat(950);
const server = createServer((request, response) => {
  request
    .on('data', () => {})
    .on('end', () => {
      response
        .writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length })
        .end(answer);
    });
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  process.stdout.write(`${JSON.stringify({ act: `http://127.0.0.1:${port}`, openpi: '' })}\n`);
});
process.on('SIGTERM', () => {
  server.closeAllConnections();
  server.close();
});
