/** Everything a client sends over a WebSocket is masked (RFC 6455, section 5.3); unmasking touches every byte. */

import * as http from 'node:http';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** Whether `ws` unmasks in native code: that of Node itself, or of the package `bufferutil`, where somebody installed it. */
export function masksAreFast(): boolean {
  if ('websocketUnmask' in http) return true;
  try {
    const { unmask } = require('bufferutil') as { unmask: () => void };
    return /\[native code\]/.test(Function.prototype.toString.call(unmask));
  } catch {
    return false;
  }
}
