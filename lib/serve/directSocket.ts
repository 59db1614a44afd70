/**
 * A connection that is read straight into memory of its reader. Node reads every 64 KiB of a connection into memory of its
 * own, fresh each time: for two camera images that costs more than all else a request needs, in pages to be mapped and in
 * garbage to be collected. `onread` of net.Socket avoids it, but net.Server offers no way to ask for it. So the accepted
 * socket gives its handle to one that has `onread`.
 */

import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export interface DirectReader {
  /** Where the next bytes go; asked again after each `received`. Not empty. */
  room(): Buffer;
  /** The first `bytes` of what `room` returned last are new. */
  received(bytes: number): void;
}

/** Where Node keeps what the operating system knows of a socket: not in its documentation, and there since its beginning. */
interface WithHandle {
  _handle?: object | null;
}

/** False on a Node that keeps handles elsewhere, and for what is no socket or has been read into already. */
export function isDirect(accepted: Duplex & WithHandle): accepted is Socket {
  const hasHandle = typeof accepted._handle === 'object' && accepted._handle !== null;
  return hasHandle && accepted instanceof Socket && accepted.readableLength === 0;
}

/**
 * Reads from here on what `accepted` would have read.
 * @param accepted of a server, in its `connection` or `upgrade` event; `isDirect`. Its `close` follows the one of the new
 *   socket
 */
export function directSocket(accepted: Socket & WithHandle, reader: DirectReader): Socket {
  const options = {
    handle: accepted._handle,
    allowHalfOpen: true,
    onread: {
      buffer: () => reader.room(),
      callback: (bytes: number) => {
        reader.received(bytes);
        return true;
      },
    },
  };
  const socket = new Socket(options);
  accepted._handle = null;
  // The server counts its connections by the sockets that it accepted.
  socket.once('close', () => accepted.destroy());
  return socket;
}
