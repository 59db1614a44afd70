/** Measurements from the JSON that `bench --report` writes. */

import { basename } from 'node:path';
import { SemanticVlaError } from '../../support/errors.ts';
import { brief, readText } from '../../support/fileAccess.ts';
import type { BenchReport } from '../types.ts';

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const needed: readonly (readonly [keyof BenchReport, (value: unknown) => boolean, string])[] = [
  ['createdAt', (value) => typeof value === 'string', 'a date'],
  ['command', Array.isArray, 'a list'],
  ['software', isObject, 'an object'],
  ['machine', (value) => isObject(value) && isObject(value.cpu), 'an object with cpu'],
  ['selfCheck', isObject, 'an object'],
  ['subjects', (value) => Array.isArray(value) && value.length > 0, 'a list of at least one'],
  ['comparisons', Array.isArray, 'a list'],
  ['rooflines', isObject, 'an object'],
  ['layers', isObject, 'an object'],
  ['warnings', (value) => Array.isArray(value) && value.every(isObject), 'a list of objects'],
];

function isChunk(value: unknown): boolean {
  const stages = isObject(value) ? value.stages : undefined;
  const isTime = (ms: unknown): boolean => typeof ms === 'number' && Number.isFinite(ms) && ms >= 0;
  return isObject(stages) && stages.total !== 0 && Object.values(stages).every(isTime);
}

/** Bytes of a report at most: one of 10,000 chunks with its series has 10 MB. */
const reportCap = 64 * 2 ** 20;

/**
 * Reads what `bench` wrote as JSON.
 *
 * @param code of the error
 * @throws (rejects) REPORT_INVALID, or `code`, with the file and what is wrong with it
 */
export async function readReport(
  file: string,
  code: 'REPORT_INVALID' | 'BASELINE_INVALID' = 'REPORT_INVALID',
): Promise<BenchReport> {
  const invalid = (expected: string, found: string): SemanticVlaError =>
    new SemanticVlaError(
      code,
      `${file}: expected ${expected}, found ${found}. Write one with semanticvla bench --report ${basename(file)}.`,
    );
  let report: BenchReport;
  const text = await readText(file, { missing: code, cap: reportCap });
  try {
    report = JSON.parse(text) as BenchReport;
  } catch (cause) {
    throw invalid('the JSON of a measurement', (cause as Error).message);
  }
  if (!isObject(report) || report.format !== 'semanticvla-bench')
    throw invalid(
      'format "semanticvla-bench"',
      brief((report as Partial<BenchReport> | null)?.format ?? null),
    );
  if (report.version !== 1) throw invalid('version 1', brief(report.version));
  for (const [field, fits, what] of needed) {
    if (!fits(report[field])) throw invalid(`${field}: ${what}`, brief(report[field]));
  }
  for (const [i, { subject, chunks, summary }] of report.subjects.entries()) {
    if (!isObject(subject) || typeof subject.name !== 'string' || !isObject(summary))
      throw invalid(`subjects[${i}] with subject, chunks and summary`, 'another object');
    if (!Array.isArray(chunks) || !chunks.every(isChunk))
      throw invalid(`subjects[${i}] (${subject.name}) with times of its chunks in ms`, 'something else');
  }
  return report;
}
