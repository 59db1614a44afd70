/** Serves a policy on the network: all protocols in one process, until `close`. */

import type { Logger } from 'pino';
import { SemanticVlaError } from '../support/errors.ts';
import { checkOptions, expected } from '../support/options.ts';
import type { Policy } from '../types.ts';
import { checkAddress, checkToken } from './access.ts';
import { type ActAnswer, actAnswers } from './actAnswers.ts';
import { resolveLimits, type ServeLimits } from './limits.ts';
import type { LiveOptions } from './live/liveFeed.ts';
import type { ObservationKeys } from './observationMap.ts';
import type { PolicyServer } from './policyServer.ts';
import type { ExtraMetadata } from './serverMetadata.ts';
import type { ServeRecorder } from './serverMetrics.ts';
import { warmUp } from './warmUp.ts';

/** Addresses, access, keys of requests, limits. */
export interface ServeOptions {
  /** Address to listen on; default 127.0.0.1. An address that other machines can reach needs a token. */
  readonly host?: string;
  /** `POST /act`; default port 8777, and 20101 for ALOHA, as the reference's scripts use. `false`: not served. */
  readonly act?:
    | {
        readonly port?: number;
        readonly compat?: boolean;
        /**
         * Default `rows`: C arrays, as OpenVLA-OFT has it. For other clients of `POST /act`: `lists`, plain JSON [C][A]; `action`, the
         * first action alone, as OpenVLA's own server answers; `object`, the lists under `actions`.
         */
        readonly answer?: ActAnswer;
      }
    | false;
  /** openpi's WebSocket; default port 8000. `false`: not served. */
  readonly openpi?: { readonly port?: number } | false;
  /**
   * LeRobot's remote policy (gRPC), which its robot client asks; default port 8080. Needs the optional package `@grpc/grpc-js`.
   * Default: not served.
   */
  readonly lerobot?: { readonly port?: number } | false;
  /** vla-eval's protocol, on openpi's port under `/vla-eval`; `executeHorizon` rows of a chunk are played before the next one is asked for; default: all. */
  readonly vlaEval?: { readonly executeHorizon?: number };
  /** At least 16 characters. Without one only this machine is served, and no web pages on it. */
  readonly token?: string;
  /** Other machines are served without a token: everybody on the network may move the robot. Default: false. */
  readonly insecureNoAuth?: boolean;
  /** Which key of a request holds which camera, the state and the instruction. */
  readonly keys?: ObservationKeys;
  /** Dataset whose statistics (un)normalize; default: the policy's. */
  readonly unnormKey?: string;
  /** Additional metadata that clients receive and compare, e.g. a name or a digest of the checkpoint. */
  readonly metadata?: ExtraMetadata;
  readonly limits?: Partial<ServeLimits>;
  /** Default: JSON lines of level `info` to standard error. */
  readonly logger?: Logger;
  /**
   * Is told what the server refuses, and adds its own metrics; to record the policy itself, use `recordPolicy`. Default: none.
   */
  readonly recorder?: ServeRecorder;
  /**
   * `GET /live` is a page for people beside the robot: frames, kept patches, chunks, times. It needs the token as all does.
   * `deadlineMs` is drawn as a line. Default: false.
   */
  readonly live?: boolean | LiveOptions;
}

const optionNames = [
  'host',
  'act',
  'openpi',
  'lerobot',
  'vlaEval',
  'token',
  'insecureNoAuth',
  'keys',
  'unnormKey',
  'metadata',
  'limits',
  'logger',
  'recorder',
  'live',
] as const satisfies readonly (keyof ServeOptions)[];

/** Default ports of openpi's server and of the reference's. */
const defaultPorts = { act: 8777, aloha: 20101, openpi: 8000, lerobot: 8080 };

/**
 * Serves `policy` until `close`. If the policy states its `stateSize`, it predicts once before the first request is accepted.
 * @throws (rejects) OPTION_INVALID, OPTION_UNKNOWN, CAMERA_UNKNOWN, PACKAGE_UNAVAILABLE; OPTION_REQUIRED if other machines could reach the address
 *   without a token; ADDRESS_UNAVAILABLE; any error with which the policy would refuse every request
 */
export async function servePolicy(policy: Policy, options: ServeOptions = {}): Promise<PolicyServer> {
  checkOptions(options, optionNames, 'servePolicy');
  const {
    host = '127.0.0.1',
    act = {},
    openpi = {},
    lerobot = false,
    vlaEval = {},
    token,
    insecureNoAuth = false,
  } = options;
  if (act === false && openpi === false && lerobot === false) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      'Expected act, openpi or lerobot to be served, found all switched off.',
    );
  }
  if (act === false && openpi === false && (options.live ?? false) !== false)
    throw expected(
      'OPTION_INVALID',
      'act or openpi with live, whose port has the page',
      'live',
      options.live,
    );
  checkToken(token);
  if (typeof insecureNoAuth !== 'boolean')
    throw expected('OPTION_INVALID', 'true or false', 'insecureNoAuth', insecureNoAuth);
  if (act !== false) checkOptions(act, ['port', 'compat', 'answer'], 'act');
  const actAnswer = act === false ? 'rows' : (act.answer ?? 'rows');
  if (!actAnswers.includes(actAnswer))
    throw expected('OPTION_INVALID', actAnswers.join(', '), 'act.answer', actAnswer);
  if (openpi !== false) checkOptions(openpi, ['port'], 'openpi');
  if (lerobot !== false) checkOptions(lerobot, ['port'], 'lerobot');
  checkOptions(vlaEval, ['executeHorizon'], 'vlaEval');
  const { executeHorizon: rows } = vlaEval;
  if (rows !== undefined && !(Number.isInteger(rows) && rows >= 1 && rows <= policy.platform.chunk))
    throw expected(
      'OPTION_INVALID',
      `1 to ${policy.platform.chunk}, the length of a chunk`,
      'vlaEval.executeHorizon',
      rows,
    );
  const actPort = policy.platform.name === 'aloha' ? defaultPorts.aloha : defaultPorts.act;
  const ports = {
    act: act === false ? null : checkPort('act.port', act.port ?? actPort),
    openpi: openpi === false ? null : checkPort('openpi.port', openpi.port ?? defaultPorts.openpi),
    lerobot: lerobot === false ? null : checkPort('lerobot.port', lerobot.port ?? defaultPorts.lerobot),
  };
  const address = await checkAddress({ host, token, insecureNoAuth });
  const limits = resolveLimits(options.limits);
  const unnormKey = (await warmUp(policy, { unnormKey: options.unnormKey })) ?? options.unnormKey;
  // Loaded here, so that programs that only predict do not load a web server.
  const { startServer } = await import('./policyServer.ts');
  return startServer({
    policy,
    host,
    address,
    ports,
    token,
    compat: act !== false && act.compat === true,
    actAnswer,
    keys: options.keys ?? {},
    vlaEvalRows: rows,
    unnormKey,
    metadata: options.metadata ?? {},
    limits,
    logger: options.logger,
    recorder: options.recorder,
    live: checkLive(options.live ?? false),
  });
}

function checkLive(live: unknown): LiveOptions | null {
  if (typeof live === 'boolean') return live ? {} : null;
  checkOptions(live as LiveOptions, ['deadlineMs'], 'live');
  const { deadlineMs } = live as LiveOptions;
  if (deadlineMs !== undefined && !(Number.isFinite(deadlineMs) && deadlineMs > 0))
    throw expected('OPTION_INVALID', 'milliseconds above 0', 'live.deadlineMs', deadlineMs);
  return live as LiveOptions;
}

function checkPort(name: string, port: unknown): number {
  if (Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65535) return port as number;
  throw expected('OPTION_INVALID', 'a port in 0..65535', name, port);
}
