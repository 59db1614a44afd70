/** A chunk as LeRobot's robot client unpickles it: a list of `TimedAction(timestamp, timestep, torch.tensor([...]))`. */

import { SemanticVlaError } from '../../support/errors.ts';
import type { ActionChunk } from '../../types.ts';

/** Seconds between actions, lerobot's default. Its client reads no timestamp but the first one, and that for its log. */
const period = 1 / 30;

const timedAction = Buffer.from('clerobot.async_inference.helpers\nTimedAction\nq\x00', 'latin1');
const tensor = Buffer.from('ctorch\ntensor\nq\x01', 'latin1');

/**
 * @param rows how many of the chunk
 * @throws ACTION_NOT_FINITE an action beyond float32, which torch.tensor makes of it
 */
export function pickleActions(
  { actions, shape: [count, width], dimensions }: ActionChunk,
  { timestamp, timestep, rows }: { timestamp: number; timestep: number; rows: number },
): Buffer {
  const parts: Buffer[] = [Buffer.from('\x80\x02](', 'latin1')];
  for (let row = 0; row < Math.min(rows, count); row++) {
    parts.push(row === 0 ? timedAction : recall(0), float(timestamp + row * period), int(timestep + row));
    parts.push(row === 0 ? tensor : recall(1), Buffer.from(']('));
    for (let i = 0; i < width; i++) {
      const value = actions[row * width + i]!;
      if (!Number.isFinite(Math.fround(value))) {
        throw new SemanticVlaError(
          'ACTION_NOT_FINITE',
          `Expected actions within float32, which LeRobot's client reads, found ${value} in row ${row}, dimension ${dimensions[i]}.`,
        );
      }
      parts.push(float(value));
    }
    // e: append to the list; 85, 87: a tuple of one, of three; R: call
    parts.push(Buffer.from('e\x85R\x87R', 'latin1'));
  }
  return Buffer.concat([...parts, Buffer.from('e.')]);
}

function recall(key: number): Buffer {
  return Buffer.of(0x68, key);
}

function float(value: number): Buffer {
  const bytes = Buffer.alloc(9);
  bytes[0] = 0x47;
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

function int(value: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes[0] = 0x4a;
  bytes.writeInt32LE(value, 1);
  return bytes;
}
