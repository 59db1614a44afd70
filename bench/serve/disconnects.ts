/**
 * How long after a client has gone the next one is served: from the end of the connection, in the middle of an upload, an
 * inference or a download, to the whole answer to another client, whose request leaves in the same moment.
 */

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { endless, long } from './instructions.ts';
import { liberoBody, openBareAct, pause, type Started } from './peer.ts';
import { clientFrame, liberoMessage, openBareWebSocket, openWebSocket } from './webSocketClient.ts';

export const phases = ['upload', 'inference', 'download'] as const;
export type Phase = (typeof phases)[number];
export type Protocol = 'act' | 'openpi';

/** Of a connection that is to be cut: how it begins, and the bytes of a request with this instruction. */
interface Side {
  open(): Promise<Socket>;
  request(instruction: string): Buffer;
}

function act(url: string): Side {
  return {
    open: async () => {
      const { hostname, port } = new URL(url);
      const socket = connect(Number(port), hostname);
      socket.setNoDelay(true);
      await once(socket, 'connect');
      return socket;
    },
    request: (instruction) => {
      const body = liberoBody(instruction);
      const head = `POST /act HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
      return Buffer.concat([Buffer.from(head), body]);
    },
  };
}

function openpi(url: string): Side {
  return { open: () => openWebSocket(url), request: (text) => clientFrame(liberoMessage(text)) };
}

/** Long enough for a request to arrive and its inference to begin. */
const settleMs = 10;

/** @returns milliseconds, one a round */
export async function disconnectTimes(
  server: Started,
  protocol: Protocol,
  phase: Phase,
  rounds: number,
): Promise<number[]> {
  const side = protocol === 'act' ? act(server.act) : openpi(server.openpi);
  const request = side.request({ upload: 'cut', inference: endless, download: long }[phase]);
  const other =
    protocol === 'act'
      ? await openBareAct(server.act, liberoBody())
      : await openBareWebSocket(server.openpi, liberoMessage());
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const socket = await side.open();
    if (phase === 'upload') socket.write(request.subarray(0, request.length / 2));
    else socket.write(request);
    if (phase === 'download') {
      await once(socket, 'data');
      socket.pause();
    } else await pause(settleMs);
    const start = performance.now();
    socket.destroy();
    const { status } = await other.ask();
    times.push(performance.now() - start);
    if (status !== 200) throw new Error(`${protocol}, ${phase}: answered ${status}`);
  }
  other.close();
  return times;
}
