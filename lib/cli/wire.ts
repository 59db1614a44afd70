/** Flags of whoever speaks with a server, from either end: keys of a request, and the token. */

import type { Command } from 'commander';
import type { ObservationKeys } from '../serve/observationMap.ts';
import { readText } from '../support/fileAccess.ts';
import { cameraKey } from './flags.ts';

export interface WireFlags {
  readonly tokenFile?: string;
  readonly camera?: Readonly<Record<string, string>>;
  readonly stateKey?: string;
  readonly instructionKey?: string;
}

export function addWireFlags(command: Command): Command {
  return command
    .option('--token-file <file>', 'file that holds the token; default: $SEMANTICVLA_TOKEN')
    .option(
      '--camera <camera=key>',
      'a camera of the policy and the key of a request that holds it; may be given for each',
      cameraKey,
    )
    .option('--state-key <key>', 'key that holds the joint state; default: state')
    .option('--instruction-key <key>', 'key that holds the instruction; default: instruction, or prompt');
}

/** Bytes of a token file. */
const tokenCap = 64 * 1024;

/** Not a flag: arguments are readable by every process of the machine. */
export async function readToken(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return process.env.SEMANTICVLA_TOKEN || undefined;
  return (await readText(file, { missing: 'OPTION_INVALID', cap: tokenCap })).trim();
}

export function observationKeys({ camera, stateKey, instructionKey }: WireFlags): ObservationKeys {
  return {
    ...(camera === undefined ? {} : { cameras: camera }),
    ...(stateKey === undefined ? {} : { state: stateKey }),
    ...(instructionKey === undefined ? {} : { instruction: instructionKey }),
  };
}
