/** The format by the file's name. */

import { encodeChrome } from './chromeTrace.ts';
import { encodePerfetto } from './perfettoTrace.ts';
import type { Timeline } from './timeline.ts';

/**
 * A timeline as the bytes of a trace file.
 *
 * @param file ends in `.json`: Chrome's format; anything else (`.perfetto-trace`, `.pftrace`): Perfetto's
 */
export function encodeTrace(timeline: Timeline, file: string): Uint8Array {
  return file.endsWith('.json') ? Buffer.from(encodeChrome(timeline), 'utf8') : encodePerfetto(timeline);
}
