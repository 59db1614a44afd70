/** `semanticvla bench --url`: a running server as its clients see it. */

import { type BenchServerOptions, benchServer, type ServerBench } from '../client/benchServer.ts';
import { serverPage, timedServers } from '../client/serverPage.ts';
import { readObservation } from '../observation/readObservation.ts';
import { checkVega } from '../plots/drawPlot.ts';
import { type Condition, parseCondition } from '../profile/gate/condition.ts';
import { judge } from '../profile/gate/judge.ts';
import type { Summary } from '../profile/types.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { present } from '../support/options.ts';
import { type GateFlags, gateExitCode, judgeOptions } from './benchGate.ts';
import { gateText, rhythmText } from './benchText.ts';
import { type CommandContext, exitCodes } from './context.ts';
import { formatTable } from './format.ts';
import { writeOutput } from './outputFile.ts';
import { observationKeys, readToken, type WireFlags } from './wire.ts';

/** Flags of `bench` that a server is measured with. */
export interface UrlFlags extends WireFlags, Omit<GateFlags, 'baseline'> {
  readonly url?: readonly string[];
  readonly clients?: readonly number[];
  readonly deadline?: number;
  readonly rate?: number;
  readonly observation?: string;
  readonly instruction?: string;
  readonly warmUp?: number;
  readonly duration?: number;
  readonly iterations?: number;
  readonly limit?: number;
  readonly percentile?: readonly number[];
  readonly html?: string;
  readonly json?: boolean;
}

/** Flags that need `--url`, and those that it takes besides. */
const own = ['clients', 'deadline', 'tokenFile', 'camera', 'stateKey', 'instructionKey'];
const shared = [
  ...['url', 'rate', 'observation', 'instruction', 'warmUp', 'duration', 'iterations', 'limit'],
  ...['percentile', 'failIf', 'confidence', 'betweenRuns', 'html', 'json'],
];

/** @param given flags that were typed: attribute and long name. @throws OPTION_INVALID for one that would mean nothing */
export function checkUrlFlags(
  given: readonly (readonly [attribute: string, long: string])[],
  checkpoints: readonly string[],
): void {
  const withUrl = given.some(([attribute]) => attribute === 'url');
  const wrong = given.find(([attribute]) =>
    withUrl ? ![...own, ...shared].includes(attribute) : own.includes(attribute),
  );
  const found = wrong?.[1] ?? (withUrl && checkpoints.length > 0 ? checkpoints[0] : undefined);
  if (found === undefined) return;
  throw new SemanticVlaError(
    'OPTION_INVALID',
    withUrl
      ? `bench --url: expected flags of a client, found ${found}, which is of a policy in this process. Leave it out: what runs the policy is told to semanticvla serve.`
      : `${found}: expected --url beside it, found none. Name the server, e.g. --url http://gpu:8777.`,
  );
}

/**
 * Limits in milliseconds of the latency, or of its part in the policy, which only openpi's answers tell.
 * @throws OPTION_INVALID, OPTION_REQUIRED
 */
export function urlConditions(failIf: readonly string[], urls: readonly string[]): Condition[] {
  return failIf.map((text) => {
    const condition = parseCondition(text);
    const fail = (wanted: string, found: string): never => {
      throw new SemanticVlaError(
        'OPTION_INVALID',
        `--fail-if ${JSON.stringify(text)}: with --url expected ${wanted}, found ${found}.`,
      );
    };
    if (condition.kind === 'ratio')
      return fail('a limit in time, since a server has no --baseline, e.g. "p99 > 120ms"', 'a ratio');
    if (condition.statistic === 'throughput')
      return fail('a statistic of times, since clients decide how often they ask', 'throughput');
    const isTold = urls.every((url) => url.startsWith('ws'));
    if (condition.stage !== 'total' && !(condition.stage === 'policy' && isTold))
      return fail('the whole latency or, of ws:// servers alone, policy', `stage ${condition.stage}`);
    return condition;
  });
}

/** Every server with every number of clients, one after the other: together they would slow each other. */
export async function benchUrls(context: CommandContext, flags: UrlFlags): Promise<number> {
  const conditions = urlConditions(flags.failIf ?? [], flags.url!);
  if (flags.html !== undefined) checkVega(`--html ${flags.html}`);
  const folder = flags.observation === undefined ? null : await readObservation(flags.observation);
  const seconds = (value: number | undefined): number | undefined => value && 1000 * value;
  const options: BenchServerOptions = present({
    keys: observationKeys(flags),
    token: await readToken(flags.tokenFile),
    observation: folder?.observation,
    instruction: flags.instruction ?? folder?.instruction,
    rateHz: flags.rate,
    warmUp: flags.warmUp,
    // as for policies: what is given is enough
    durationMs: seconds(flags.duration) ?? (flags.iterations === undefined ? undefined : 0),
    iterations: flags.iterations ?? (flags.duration === undefined ? undefined : 1),
    limitMs: seconds(flags.limit),
    deadlineMs: flags.deadline,
    percentiles: flags.percentile,
    onProgress: context.onProgress,
    signal: context.signal,
  });
  const servers: ServerBench[] = [];
  for (const url of flags.url!) {
    for (const clients of flags.clients ?? [1]) {
      // as serve prints it
      const address = url.replace(/^(https?:.*)\/act\/?$/, '$1');
      const server = await benchServer(address, { ...options, clients });
      servers.push(server);
      if (!flags.json) context.print(serverText(server));
    }
  }
  const pairs = timedServers(servers).map((subject) => ({ subject, baseline: null }));
  const gate = conditions.length === 0 ? undefined : judge(pairs, conditions, judgeOptions(flags));
  if (gate !== undefined && !flags.json) context.print(gateText(gate));
  if (flags.html !== undefined) await writeOutput(flags.html, Buffer.from(await serverPage(servers, gate)));
  if (flags.json) context.json({ servers, ...(gate === undefined ? {} : { gate }) });
  return servers.every(({ answered }) => answered > 0) ? gateExitCode(gate) : exitCodes.refused;
}

const ms = (value: number): string => value.toFixed(value < 10 ? 3 : value < 100 ? 2 : 1);

/** As a person reads it. */
export function serverText(server: ServerBench): string {
  const { url, protocol, variant, clients, rateHz, seconds, answered, throughput, errors, missed } = server;
  const failed = Object.entries(errors).map(([code, count]) => `${count} ${code}`);
  const head = [
    [
      'server',
      `${url}, ${protocol === 'act' ? 'POST /act' : "openpi's WebSocket"}, ${variant ?? 'policy not told'}`,
    ],
    ['clients', clients === 1 ? '1' : `${clients} at once`],
    [
      'answers',
      `${throughput.toFixed(throughput < 10 ? 3 : 1)} a second, ${answered} in ${seconds.toFixed(1)} s`,
    ],
    ...(rateHz === null ? [] : [['rhythm', rhythmText({ rateHz, missed }, answered + failures(errors))]]),
    ...(failed.length === 0 ? [] : [['FAILED', failed.join(', ')]]),
  ];
  const further = Object.keys(server.latency?.percentiles ?? {});
  const row = (label: string, of: Summary | null): string[][] =>
    of === null
      ? []
      : [
          [
            label,
            ...[of.min, of.mean, of.median, of.p90, of.p95, of.p99].map(ms),
            ...further.map((p) => ms(of.percentiles![p]!)),
            ms(of.max),
          ],
        ];
  const rows = [
    ['ms', 'min', 'mean', 'median', 'p90', 'p95', 'p99', ...further.map((p) => `p${p}`), 'max'],
    ...row('latency, call to answer', server.latency),
    ...row('  in the policy', server.inference),
    ...(clients === 1 ? [] : server.perClient.flatMap(({ latency }, i) => row(`client ${i + 1}`, latency))),
  ];
  return `${formatTable(head, ['left', 'left'])}\n${formatTable(rows, ['left'])}\n`;
}

const failures = (errors: ServerBench['errors']): number =>
  Object.values(errors).reduce((sum, count) => sum + count, 0);
