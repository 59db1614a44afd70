/** `semanticvla serve`: a policy on the network, until a signal. */

import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Level, Logger } from 'pino';
import { loadPolicy } from '../policy/loadPolicy.ts';
import { checkMcap } from '../profile/recorder/flightMcap.ts';
import { startFlightRecorder } from '../profile/recorder/flightRecorder.ts';
import { Recorder } from '../profile/recorder/recorder.ts';
import { recordPolicy } from '../profile/recorder/recordPolicy.ts';
import { checkAddress } from '../serve/access.ts';
import { type ActAnswer, actAnswers } from '../serve/actAnswers.ts';
import { servePolicy } from '../serve/servePolicy.ts';
import { warmUp } from '../serve/warmUp.ts';
import { whenAborted } from '../support/abort.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { readRegular, readText } from '../support/fileAccess.ts';
import { present } from '../support/options.ts';
import { type CommandContext, exitCodes, hooksOf, type Run } from './context.ts';
import {
  addCheckpointFlags,
  addEnvironmentFlags,
  addHeadFlags,
  addPlatformFlags,
  addRuntimeFlags,
  checkpointArgument,
  type frameSize,
  frameSizeFlag,
  jsonFlag,
  type PolicyFlags,
  policyOptions,
  wholeNumber,
} from './flags.ts';
import { addWireFlags, observationKeys, readToken, type WireFlags } from './wire.ts';

interface ServeFlags extends Partial<PolicyFlags>, WireFlags {
  readonly host: string;
  /** `false`: not served. */
  readonly act: number | boolean;
  readonly openpi: number | boolean;
  readonly executeHorizon?: number;
  /** `true`: the default port. */
  readonly lerobot?: number | true;
  readonly compat?: boolean;
  readonly actAnswer?: ActAnswer;
  readonly insecureNoAuth?: boolean;
  readonly instructions?: string;
  readonly frameSize?: ReturnType<typeof frameSize>;
  readonly keptLengths?: number;
  readonly flightRecorder?: string;
  readonly flightMcap?: boolean;
  readonly deadline?: number;
  readonly live?: boolean;
  readonly logLevel: Level | 'silent';
  readonly json?: boolean;
}

const example = `
POST /act takes json_numpy arrays as OpenVLA-OFT's clients send them; the WebSocket is openpi's. Both ports answer
GET /healthz (it lives), /readyz (it would serve), /metrics (Prometheus) and /metadata. Logs go to standard error, one
JSON object a line. One inference runs; every connection has one waiting place, which its newest request takes, and turns go round.
With --flight-recorder a trace of the last predictions is written when one took longer than --deadline (a file a minute at
most, the newest 20 are kept), and on SIGUSR2: a signal needs no port, and reaches a server whose ports are busy.
An address that other machines reach needs a token: --token-file, or SEMANTICVLA_TOKEN in the environment; or, on a
network where everybody may move the robot, --insecure-no-auth.
SIGTERM and SIGINT: no new requests, the running one is answered, and all is closed within 2 s.

Example:
  $ semanticvla serve policy --unnorm-key libero_spatial_no_noops --camera full_image=observation/image`;

function port(text: string): number {
  const value = wholeNumber(0)(text);
  if (value > 65535) throw new InvalidArgumentError('Expected a port.');
  return value;
}

/** Bytes of a file of instructions. */
const instructionsCap = 1024 * 1024;

/** One a line. */
async function readInstructions(file: string): Promise<string[]> {
  const text = await readText(file, { missing: 'OPTION_INVALID', cap: instructionsCap });
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** Bytes of settings, as they were opened. */
const settingsCap = 16 * 1024 * 1024;

/** Settings and statistics by content, weights by name and size: shows a client when another policy is behind the address. */
async function checkpointDigest(dir: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(dir)).sort()) {
    const file = join(dir, name);
    // files that the policy does not read may be anything, even broken links
    const size = (await stat(file).catch(() => null))?.size ?? 'none';
    hash.update(`${name}\0${size}\0`);
    if (name === 'config.json' || name === 'dataset_statistics.json')
      hash.update(await readRegular(file, { missing: 'CHECKPOINT_FILE_MISSING', cap: settingsCap }));
  }
  return hash.digest('hex').slice(0, 16);
}

/** Resolves at SIGTERM, or at SIGINT through `signal`. */
function stopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const stop = (): void => {
      process.off('SIGTERM', stop);
      stopListening();
      resolve();
    };
    process.on('SIGTERM', stop);
    let stopListening = (): void => {};
    stopListening = whenAborted(signal, stop);
  });
}

/** After SIGTERM the server drains in two seconds at most; whatever still holds the process after this time is killed with it. */
const lastResortMs = 5000;
/** Of frames that --flight-mcap keeps in memory. */
const sceneBytes = 64 * 2 ** 20;

interface HeldSignals {
  /** What SIGUSR2 does. */
  onDump: () => void;
  release(): void;
}

/**
 * By default SIGUSR1 opens Node's debugger to every process of this machine, and SIGUSR2 ends this one. A reader of standard
 * output that goes away must not end the server either.
 */
function holdSignals(log: Logger): HeldSignals {
  const held: HeldSignals = {
    onDump: () => log.warn('SIGUSR2: no flight recorder; start with --flight-recorder DIR'),
    release: () => {
      process.off('SIGUSR1', onDebug).off('SIGUSR2', onDump);
    },
  };
  const onDebug = (): void => log.warn('SIGUSR1 does nothing here; a debugger: node --inspect');
  const onDump = (): void => held.onDump();
  process.on('SIGUSR1', onDebug).on('SIGUSR2', onDump);
  process.stdout.removeAllListeners('error').on('error', (error: NodeJS.ErrnoException) => {
    log.warn({ code: error.code }, 'standard output takes nothing');
  });
  return held;
}

/** Writes on misses and on SIGUSR2, until the returned function is called. */
async function armFlightRecorder(
  recorder: Recorder,
  dir: string,
  { logger: log, signals }: Held,
): Promise<() => Promise<void>> {
  const flights = await startFlightRecorder(recorder, {
    dir,
    mcap: recorder.hasScenes,
    title: 'semanticvla serve',
    onEvent: (event) => {
      if (event.type === 'written')
        log.info({ file: event.file, mcap: event.mcap, why: event.why }, 'flight recorded');
      else log.warn({ why: event.why, code: event.code, reason: event.message }, 'flight not recorded');
    },
  });
  signals.onDump = () => void flights.dump();
  return () => flights.close();
}

async function serve(context: CommandContext, checkpoint: string, flags: ServeFlags): Promise<number> {
  if (flags.flightMcap === true && flags.flightRecorder === undefined) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      '--flight-mcap: expected --flight-recorder DIR with it, found none. Name the folder for the files.',
    );
  }
  if (flags.flightMcap === true) checkMcap();
  const token = await readToken(flags.tokenFile);
  // Checked before minutes of loading, and again when serving starts.
  await checkAddress({ host: flags.host, token, insecureNoAuth: flags.insecureNoAuth === true });
  // Not loaded for any other command.
  const { makeLog } = await import('../serve/log.ts');
  const logger = makeLog(flags.logLevel);
  const signals = holdSignals(logger);
  try {
    return await serveUntil(context, checkpoint, flags, { token, logger, signals });
  } finally {
    signals.release();
  }
}

interface Held {
  readonly token: string | undefined;
  readonly logger: Logger;
  readonly signals: HeldSignals;
}

async function serveUntil(
  context: CommandContext,
  checkpoint: string,
  flags: ServeFlags,
  held: Held,
): Promise<number> {
  const { token, logger } = held;
  const { signal } = context;
  const policy = await loadPolicy(checkpoint, {
    ...policyOptions(flags),
    ...present({
      instructions: flags.instructions === undefined ? undefined : await readInstructions(flags.instructions),
      frameSize: flags.frameSize && ([flags.frameSize.width, flags.frameSize.height] as const),
      keptLengths: flags.keptLengths,
    }),
    ...hooksOf(context),
    // a line of the log, unless the log holds no warnings
    onNotice: (notice) => {
      if (logger.isLevelEnabled('warn')) logger.warn({ notice: notice.code }, notice.message);
      else context.onNotice(notice);
    },
  });
  const recorder = new Recorder({
    ...present({ deadlineMs: flags.deadline }),
    ...(flags.flightMcap === true ? { sceneBytes } : {}),
  });
  let disarm: (() => Promise<void>) | null = null;
  try {
    const stop = stopped(signal);
    if (flags.flightRecorder !== undefined)
      disarm = await armFlightRecorder(recorder, flags.flightRecorder, held);
    const compat = flags.compat === true;
    // Before recording begins: the slow first prediction is not a missed deadline.
    const unnormKey = (await warmUp(policy, { unnormKey: flags.unnormKey, signal })) ?? flags.unnormKey;
    const server = await servePolicy(recordPolicy(policy, recorder), {
      host: flags.host,
      act:
        flags.act === false
          ? false
          : {
              compat,
              ...present({ answer: flags.actAnswer }),
              ...(typeof flags.act === 'number' ? { port: flags.act } : {}),
            },
      openpi: flags.openpi === false ? false : typeof flags.openpi === 'number' ? { port: flags.openpi } : {},
      keys: observationKeys(flags),
      ...(flags.lerobot === undefined
        ? {}
        : { lerobot: flags.lerobot === true ? {} : { port: flags.lerobot } }),
      ...(flags.executeHorizon === undefined ? {} : { vlaEval: { executeHorizon: flags.executeHorizon } }),
      metadata: { checkpoint: await checkpointDigest(checkpoint) },
      logger,
      recorder,
      ...(flags.live === true ? { live: present({ deadlineMs: flags.deadline }) } : {}),
      ...(token === undefined ? {} : { token }),
      ...(flags.insecureNoAuth === true ? { insecureNoAuth: true } : {}),
      ...(unnormKey === undefined ? {} : { unnormKey }),
    });
    const { actUrl, openpiUrl, lerobotAddress, liveUrl } = server;
    if (flags.json)
      context.json({
        act: actUrl,
        openpi: openpiUrl,
        ...(lerobotAddress === null ? {} : { lerobot: lerobotAddress }),
        ...(liveUrl === null ? {} : { live: liveUrl }),
      });
    else {
      const urls = [actUrl === null ? null : `${actUrl}/act`, openpiUrl, lerobotAddress].filter(
        (url) => url !== null,
      );
      context.print(`serving       ${urls.join(', ')}`);
      if (liveUrl !== null) context.print(`live          ${liveUrl}`);
    }
    await stop;
    setTimeout(() => {
      logger.error('still not ended: ending the process');
      process.kill(process.pid, 'SIGKILL');
    }, lastResortMs).unref();
    await server.close();
    return exitCodes.ok;
  } finally {
    await disarm?.();
    await policy.close();
  }
}

export function serveCommand(program: Command, run: Run): void {
  const command = program
    .command('serve')
    .description('Serves the policy: POST /act and the openpi WebSocket.')
    .argument('<checkpoint>', checkpointArgument)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--act <port>', 'port of POST /act; default: 8777, for ALOHA 20101', port)
    .option('--no-act', 'no POST /act')
    .option('--openpi <port>', 'port of the WebSocket; default: 8000', port)
    .option('--no-openpi', 'no WebSocket')
    .option(
      '--lerobot [port]',
      "LeRobot's remote policy (gRPC), on 8080 where no port is given; default: not served",
      port,
    )
    .option(
      '--execute-horizon <n>',
      'actions of a chunk that are played to vla-eval (ws://HOST:PORT/vla-eval) before the next one; default: all',
      wholeNumber(1),
    )
    .option('--compat', 'failures of POST /act as the reference answers them: status 200 and "error"')
    .addOption(
      new Option(
        '--act-answer <form>',
        'form of the actions of POST /act: C arrays, plain lists, the first action alone, lists in an object; default: rows',
      ).choices([...actAnswers]),
    )
    .option(
      '--insecure-no-auth',
      'serve other machines without a token: anybody on the network may move the robot',
    )
    .option(
      '--instructions <file>',
      'what the robot will be told, one a line: encoded and prepared before the first request',
    )
    .option(...frameSizeFlag)
    .option(
      '--kept-lengths <n>',
      'tensorrt: lengths of prompts that stay prepared; default: 4, or one more than the instructions have',
      wholeNumber(1),
    )
    .option('--flight-recorder <dir>', 'folder for traces of missed deadlines; default: none are written')
    .option(
      '--flight-mcap',
      'with each trace an MCAP file of the last 64 MiB of frames, with states and actions, for Foxglove and ROS 2 tools',
    )
    .option(
      '--deadline <ms>',
      'milliseconds that a prediction may take; default: no deadline',
      wholeNumber(1),
    )
    .option('--live', 'GET /live: a page with the newest frames, kept patches, actions and times')
    .addOption(
      new Option('--log-level <level>', 'lowest level that is logged')
        .choices(['error', 'warn', 'info', 'debug', 'silent'])
        .default('info'),
    );
  addCheckpointFlags(
    addRuntimeFlags(addHeadFlags(addEnvironmentFlags(addPlatformFlags(addWireFlags(command))))),
  )
    .option(...jsonFlag)
    .addHelpText('after', example)
    .action((checkpoint: string, flags: ServeFlags) =>
      run((context, given) => serve(context, checkpoint, given), flags),
    );
}
