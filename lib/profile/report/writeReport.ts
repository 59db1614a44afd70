/** A measurement as one HTML file that needs nothing else: no network, no script, no other file. */

import type { BenchReport } from '../types.ts';

/** @returns the page; writing it is the caller's */
export async function writeReport(report: BenchReport): Promise<string> {
  return `<!doctype html><html lang="en"><title>${report.createdAt}</title></html>`;
}
