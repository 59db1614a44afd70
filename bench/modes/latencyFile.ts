/** What a person calls a latency: a number, a formula, or a file of measured milliseconds. */

import { type Latency, latencyForms, parseLatency, recordedLatency } from '../../lib/schedule/latency.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { isThere, readText } from '../../lib/support/fileAccess.ts';
import { expected } from '../../lib/support/options.ts';

/** Bytes of measured latencies, a few million of them. */
const cap = 32 * 2 ** 20;

/**
 * A formula has parentheses, a number is a constant; anything else is a file.
 * @throws (rejects) OPTION_INVALID
 */
export async function readLatency(given: string): Promise<Latency> {
  if (/[()]/.test(given)) return parseLatency(given);
  if (/^\d+(?:\.\d+)?$/.test(given)) return parseLatency(`constant(${given})`);
  if (!(await isThere(given, 'OPTION_INVALID'))) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `--latency ${given}: expected ${latencyForms.join(', ')} or a readable file of milliseconds, found no such file.`,
    );
  }
  return latencyFromText(await readText(given, { missing: 'OPTION_INVALID', cap }), given);
}

/**
 * The text of a file of latencies: a JSON list of numbers, or numbers with white space or commas between; `#` starts a
 * comment.
 * @throws OPTION_INVALID names the word that is no number
 */
export function latencyFromText(text: string, name: string): Latency {
  const words = text
    .replace(/#.*$/gm, '')
    .replace(/^\s*\[|\]\s*$/g, '')
    .split(/[\s,]+/)
    .filter((word) => word !== '');
  const bad = words.find((word) => !Number.isFinite(Number(word)));
  if (bad !== undefined)
    throw expected('OPTION_INVALID', 'only numbers (milliseconds)', `latencies of ${name}`, bad);
  return recordedLatency(words.map(Number), name);
}
