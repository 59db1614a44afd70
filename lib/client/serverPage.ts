/** Servers measured as their clients see them, as one HTML page; and the same servers as the regression gate takes them. */

import { type Cell, figure, paragraph, plotFigure, section, table } from '../plots/html.ts';
import { page } from '../plots/page.ts';
import { histogramFigure, percentileFigure, timelineFigure } from '../profile/report/latencyFigures.ts';
import { gateTable } from '../profile/report/tables.ts';
import type { GateVerdict, Summary, Timed } from '../profile/types.ts';
import type { ServerBench } from './benchServer.ts';

/** One name each, in order: the address, the number of clients, and which time it is where both come again. */
function namesOf(servers: readonly ServerBench[]): string[] {
  const seen = new Map<string, number>();
  return servers.map(({ url, clients }) => {
    const name = clients === 1 ? url : `${url}, ${clients} clients`;
    const times = (seen.get(name) ?? 0) + 1;
    seen.set(name, times);
    return times === 1 ? name : `${name} (${times})`;
  });
}

/** Those that answered, for plots and the gate; `policy` is the part in the policy, where the server tells. */
export function timedServers(servers: readonly ServerBench[]): Timed[] {
  const names = namesOf(servers);
  return servers.flatMap(({ requests, latency, inference, throughput }, i): Timed[] =>
    latency === null
      ? []
      : [
          {
            subject: { name: names[i]! },
            chunks: requests,
            summary: { total: latency, ...(inference === null ? {} : { policy: inference }) },
            throughput,
          },
        ],
  );
}

const columns = ['median', 'p90', 'p95', 'p99', 'mean', 'min', 'max'] as const;

function summaryTable(servers: readonly ServerBench[]): string {
  const names = namesOf(servers);
  const row = (name: string, of: Summary | null, more: readonly Cell[]): Cell[] => [
    name,
    ...columns.map((column) => of?.[column] ?? null),
    ...more,
  ];
  return table({
    caption: 'latency of a chunk, ms: from the call to its answer, as a client sees it',
    head: ['server', ...columns, 'answers', 'a second', 'ticks missed', 'failed'],
    rows: servers.flatMap((server, i) => {
      const { rateHz, missed, answered, throughput, errors } = server;
      const failed = Object.values(errors).reduce((sum, count) => sum + count, 0);
      const ticks = rateHz === null ? '' : String(missed);
      return [
        row(names[i]!, server.latency, [answered, throughput, ticks, failed]),
        ...(server.inference === null ? [] : [row('in the policy', server.inference, ['', '', '', ''])]),
      ];
    }),
  });
}

function factsTable(servers: readonly ServerBench[]): string {
  const names = namesOf(servers);
  return table({
    caption: 'what was asked',
    head: ['server', 'protocol', 'policy', 'clients', 'asked', 'for', 'failures'],
    rows: servers.map(({ protocol, variant, clients, rateHz, seconds, errors }, i) => [
      names[i]!,
      protocol === 'act' ? 'POST /act' : "openpi's WebSocket",
      variant ?? 'not told',
      String(clients),
      rateHz === null ? 'back to back' : `at ${figure(rateHz)} Hz each`,
      `${figure(seconds)} s`,
      Object.entries(errors)
        .map(([code, count]) => `${count} ${code}`)
        .join(', ') || 'none',
    ]),
  });
}

/**
 * What `benchServer` measured, as one page: tables, and the plots of `bench`.
 *
 * @param servers in the order in which they are shown; at least one
 * @param verdicts of the regression gate; default: none were asked for
 * @returns the page as text; writing it is the caller's
 * @throws (rejects) PACKAGE_UNAVAILABLE vega or vega-lite is not installed
 */
export async function serverPage(
  servers: readonly ServerBench[],
  verdicts: readonly GateVerdict[] = [],
): Promise<string> {
  const timed = timedServers(servers).filter(({ chunks }) => chunks.length > 1);
  const plots =
    timed.length === 0
      ? [paragraph('Too few answers for a plot.')]
      : await Promise.all(
          [histogramFigure(timed), percentileFigure(timed), timelineFigure(timed)].map(plotFigure),
        );
  const [first] = servers;
  const title = `Latency of ${servers.length === 1 ? first!.url : `${servers.length} runs against servers`}`;
  const line = `As clients see it, ${first!.createdAt}. The client and its machine are part of every figure.`;
  return page(title, line, [
    section('summary', 'Summary', [
      summaryTable(servers),
      ...(verdicts.length === 0 ? [] : [gateTable(verdicts)]),
      factsTable(servers),
    ]),
    section('latency', 'Latency', plots),
  ]);
}
