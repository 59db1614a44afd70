/** Measurements from the JSON that `bench --report` and `profile --json` write. */

import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { SemanticVlaError } from '../../errors.ts';
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

/** @throws (rejects) REPORT_INVALID */
export async function readReport(file: string): Promise<BenchReport> {
  const invalid = (expected: string, found: string): SemanticVlaError =>
    new SemanticVlaError(
      'REPORT_INVALID',
      `${file}: expected ${expected}, found ${found}. Write one with semanticvla bench --report ${basename(file)}.`,
    );
  let report: BenchReport;
  try {
    report = JSON.parse(await readFile(file, 'utf8')) as BenchReport;
  } catch (cause) {
    throw invalid('the JSON of a measurement', (cause as Error).message);
  }
  if (!isObject(report) || report.format !== 'semanticvla-bench')
    throw invalid('format "semanticvla-bench"', JSON.stringify(report?.format ?? null));
  if (report.version !== 1) throw invalid('version 1', JSON.stringify(report.version));
  for (const [field, fits, what] of needed) {
    if (!fits(report[field]))
      throw invalid(`${field}: ${what}`, JSON.stringify(report[field])?.slice(0, 60) ?? 'nothing');
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
