/** What a report shows besides times, on request: layers, from separate runs, and rooflines. */

import type { Progress } from '../../checkpoint/checkpoint.ts';
import { partsOf } from '../../policy/policyParts.ts';
import { present } from '../../support/options.ts';
import { profilePolicy } from '../layers/profilePolicy.ts';
import { subjectRoofline } from '../roofline/subjectRoofline.ts';
import type { BenchReport, LayerTime, Roofline } from '../types.ts';
import { firstKey, type LoadedSubject } from './subjects.ts';

export interface ExtraOptions {
  /** Profile every subject after it was measured; the profiler's session needs additional memory. */
  readonly layers?: boolean;
  /** Compute the limits of every subject on a device named in the table; true: on the GPU it ran on. */
  readonly roofline?: boolean | string;
  /** Chunks to measure; the profiler runs no more than these, and 20 at most. */
  readonly iterations?: number;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** @param loaded in the order of the report's subjects; one loaded by another version has no parts and gets no extras */
export async function addExtras(
  report: BenchReport,
  loaded: readonly LoadedSubject[],
  options: ExtraOptions,
): Promise<BenchReport> {
  const { roofline = false, iterations, onProgress, signal } = options;
  const layers: Record<string, readonly LayerTime[]> = {};
  const rooflines: Record<string, Roofline> = {};
  for (const [i, { policy }] of loaded.entries()) {
    const result = report.subjects[i]!;
    const { name, instruction } = result.subject;
    const opened = partsOf(policy);
    if (opened === null) continue;
    const { checkpoint, platform, sizes } = opened.parts;
    if (options.layers === true) {
      const profile = await profilePolicy(policy, {
        unnormKey: opened.options.unnormKey ?? firstKey(checkpoint, platform),
        ...present({ instruction, onProgress, signal }),
        ...(iterations === undefined ? {} : { iterations: Math.min(20, iterations) }),
      });
      layers[name] = profile.report.layers;
    }
    if (roofline === false) continue;
    signal?.throwIfAborted();
    rooflines[name] = subjectRoofline(checkpoint, sizes, result, report.machine, {
      ...(roofline === true ? {} : { device: roofline }),
      layers: layers[name] ?? [],
    });
  }
  return { ...report, layers, rooflines };
}
