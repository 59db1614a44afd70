/** Answers every byte with itself: what it takes to wake another process of Node and to be woken by it, and no more. */

import { Socket } from 'node:net';

const socket = new Socket({ fd: 3, readable: true, writable: true });
socket.on('data', (bytes) => socket.write(bytes)).on('close', () => process.exit(0));
