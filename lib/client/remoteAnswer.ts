/** Turns answers of both protocols into actions. Servers are checked like any other input. */

import { NdArray, type WireMap, type WireValue } from '../serve/ndarray.ts';
import { type RemoteAnswer, remoteFailed } from './transport.ts';

/** `POST /act`: a list of C arrays [A]. @throws REMOTE_FAILED */
export function answerOfRows(url: URL, value: WireValue): RemoteAnswer {
  if (!Array.isArray(value) || value.length === 0)
    throw remoteFailed(url, 'a list of actions', 'something else');
  const rows = (value as readonly WireValue[]).map((row) => {
    if (row instanceof NdArray && row.shape.length === 1) return row.numbers();
    throw remoteFailed(url, 'actions to be arrays of one dimension', 'something else');
  });
  const width = rows[0]!.length;
  if (rows.some((row) => row.length !== width)) throw remoteFailed(url, 'actions of one length', 'several');
  const actions = new Float64Array(rows.length * width);
  for (const [i, row] of rows.entries()) actions.set(row, i * width);
  return { actions, shape: [rows.length, width], normalized: null, inferMs: null };
}

/** openpi: a map with `actions` [C, A]. @throws REMOTE_FAILED */
export function answerOfMap(url: URL, map: WireMap): RemoteAnswer {
  const array = map.get('actions');
  if (!(array instanceof NdArray) || array.shape.length !== 2) {
    throw remoteFailed(url, '`actions` of two dimensions', 'something else');
  }
  const shape = [array.shape[0]!, array.shape[1]!] as const;
  const normalized = map.get('normalized');
  if (normalized instanceof NdArray && normalized.shape.join() !== shape.join())
    throw remoteFailed(
      url,
      `\`normalized\` of shape (${shape.join(', ')})`,
      `(${normalized.shape.join(', ')})`,
    );
  const timing = map.get('server_timing');
  const inferMs = timing instanceof Map ? timing.get('infer_ms') : undefined;
  return {
    actions: array.numbers(),
    shape,
    // other servers may use this name for something else
    normalized: normalized instanceof NdArray ? Float32Array.from(normalized.numbers()) : null,
    inferMs: typeof inferMs === 'number' && inferMs >= 0 && inferMs < 2 ** 31 ? inferMs : null,
  };
}
