/** The audit as a table for people. */

import { tierFormats, typesText } from '../graph/tiers.ts';
import { kernelsPerBlock, type PlanAudit } from './auditPlan.ts';

/** Two columns, one line per fact. */
export function auditTable(audit: PlanAudit): string {
  const rows: [string, string][] = [
    [
      'engine',
      `${audit.engine}, ${typesText({ precision: audit.precision, ...(audit.tier === null ? {} : { tier: audit.tier }) })}`,
    ],
    ['layers', `${audit.layers}, of which ${audit.kernels} kernels on ${audit.streams} stream(s)`],
    ['kinds', list(audit.kinds)],
    ['kernels by output type', list(audit.types)],
    ['plugins', Object.keys(audit.plugins).length === 0 ? 'none' : list(audit.plugins)],
    ['most kernels a block', list(kernelsPerBlock(audit))],
  ];
  if (audit.tierProducts !== null && audit.tierProducts.found > 0)
    rows.push([
      'language model',
      `${audit.tierProducts.found} products, each ${tierFormats[audit.tier!].product}`,
    ]);
  const trimmed = audit.blocks.filter((block) => block.trimmed);
  if (trimmed.length > 0)
    rows.push(['trimmed blocks', trimmed.map(({ block, kernels }) => `${block} ${kernels}`).join(', ')]);
  rows.push(['inputs', `${audit.inputs}, of which ${audit.boundWeights} weights`]);
  for (const { name, type, dims } of audit.outputs.filter(({ name }) => !name.startsWith('film.'))) {
    rows.push(['output', `${name} ${type} [${dims.map((n) => (n < 0 ? '*' : n)).join(', ')}]`]);
  }
  rows.push(['verdict', audit.problems.length === 0 ? 'as asked for' : audit.problems.join('; ')]);
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

function list(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .sort(([, a], [, b]) => b - a)
    .map(([name, n]) => `${name} ${n}`)
    .join(', ');
}
