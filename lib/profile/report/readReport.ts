/** Measurements from the JSON that `bench --report` and `profile --json` write. */

import { basename } from 'node:path';
import { SemanticVlaError } from '../../support/errors.ts';
import { brief, readText } from '../../support/fileAccess.ts';
import type { BenchReport } from '../types.ts';

const needed: readonly (readonly [keyof BenchReport, (value: unknown) => boolean, string])[] = [
  ['createdAt', (value) => typeof value === 'string', 'a date'],
  ['command', Array.isArray, 'a list'],
  ['software', isObject, 'an object'],
  ['machine', isObject, 'an object'],
  ['selfCheck', isObject, 'an object'],
  ['subjects', (value) => Array.isArray(value) && value.length > 0, 'a list of at least one'],
  ['comparisons', Array.isArray, 'a list'],
  ['rooflines', isObject, 'an object'],
  ['layers', isObject, 'an object'],
  ['warnings', Array.isArray, 'a list'],
];

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Bytes of a report at most: one of 10,000 chunks with its series has 10 MB. */
export const reportCap = 64 * 2 ** 20;

/**
 * Reads what `bench` or `profile` wrote as JSON.
 *
 * @throws (rejects) REPORT_INVALID
 */
export async function readReport(file: string): Promise<BenchReport> {
  const invalid = (expected: string, found: string): SemanticVlaError =>
    new SemanticVlaError(
      'REPORT_INVALID',
      `${file}: expected ${expected}, found ${found}. Write one with semanticvla bench --report ${basename(file)}.`,
    );
  let report: BenchReport;
  const text = await readText(file, { missing: 'REPORT_INVALID', cap: reportCap });
  try {
    report = JSON.parse(text) as BenchReport;
  } catch (cause) {
    throw invalid('the JSON of a measurement', (cause as Error).message);
  }
  if (!isObject(report) || report.format !== 'semanticvla-bench')
    throw invalid('format "semanticvla-bench"', brief(report?.format ?? null));
  if (report.version !== 1) throw invalid('version 1', brief(report.version));
  for (const [field, fits, what] of needed) {
    if (!fits(report[field])) throw invalid(`${field}: ${what}`, brief(report[field]));
  }
  for (const [i, { subject, chunks, summary }] of report.subjects.entries()) {
    if (
      !isObject(subject) ||
      typeof subject.name !== 'string' ||
      !Array.isArray(chunks) ||
      !isObject(summary)
    )
      throw invalid(`subjects[${i}] with subject, chunks and summary`, 'another object');
  }
  return report;
}
