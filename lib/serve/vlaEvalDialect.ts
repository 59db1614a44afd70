/**
 * vla-eval's protocol (vla_eval/protocol, version 1), spoken on the path `/vla-eval`: msgpack `{type, payload, seq, timestamp}`.
 * The client says hello first and asks for one action at a time, so the server plays the chunks: row by row until there is none
 * left, another instruction is given, or another episode begins.
 */

import type { Policy } from '../types.ts';
import type { Failure } from './failure.ts';
import { packMsgpack, readKeys, unpackMsgpack } from './msgpackNumpy.ts';
import { checkDtype, checkShape, invalidRequest, NdArray, type WireValue } from './ndarray.ts';
import { type ObservationKeys, requestKeys } from './observationMap.ts';
import type { Inference } from './policyService.ts';
import type { Dialect, Message, Reply } from './socketConnection.ts';
import { type WireFields, wireFields } from './wireFields.ts';

export const vlaEvalPath = '/vla-eval';

/** The version of the protocol, which a client's hello must name. */
const protocolVersion = 1;

/** What its benchmarks call a field of this server's; a field's own name goes first. */
const aliases: Readonly<Record<string, readonly string[]>> = {
  full_image: ['images/agentview', 'images/primary'],
  wrist_image: ['images/wrist'],
  state: ['states'],
  instruction: ['task_description'],
};

interface Envelope {
  readonly type: string;
  readonly payload: ReadonlyMap<string, unknown>;
  readonly seq: number;
}

type Ask = (fields: WireFields) => Promise<Inference>;

/** @param rows how many of a chunk are played; default: all */
export function vlaEvalDialect(policy: Policy, keys: ObservationKeys, rows?: number): Dialect {
  const { instruction: instructionKeys } = requestKeys(policy, keys);
  /** What is left of the chunk that is played, and what it was asked for. */
  let left: Float64Array[] = [];
  let told: WireValue | undefined;
  /** Settles when all earlier messages have been dealt with: an action depends on those before it. */
  let turn: Promise<unknown> = Promise.resolve();

  const step = async (fields: WireFields, ask: Ask): Promise<Float64Array> => {
    const said = instructionKeys.map((key) => fields.find(key)).find((value) => value !== undefined);
    if (said !== told) left = [];
    if (left.length === 0) {
      const { actions, shape } = (await ask(fields)).chunk;
      const [count, width] = shape;
      left = Array.from({ length: Math.min(count, rows ?? count) }, (_, row) =>
        actions.subarray(row * width, (row + 1) * width),
      );
      told = said;
    }
    return left.shift()!;
  };

  const answer = async ({ type, payload, seq }: Envelope, ask: Ask): Promise<Reply | null> => {
    switch (type) {
      case 'hello': {
        const version = payload.get('protocol_version');
        if (version !== protocolVersion)
          throw invalidRequest(`protocol_version ${protocolVersion}`, String(version).slice(0, 20));
        return { frame: () => pack('hello', hello(policy), seq) };
      }
      case 'episode_start':
      case 'episode_end':
        left = [];
        return null;
      case 'observation': {
        const row = await step(observationFields(payload), ask);
        return { frame: () => pack('action', { actions: encodeRow(row) }, seq) };
      }
      case 'error':
        return null;
      default:
        throw invalidRequest(
          'type to be hello, episode_start, observation or episode_end',
          JSON.stringify(type.slice(0, 20)),
        );
    }
  };

  return {
    protocol: 'vla-eval',
    greeting: null,
    // making a scene blocks its client for longer than any ping should wait
    answersPings: false,
    endsOnFailure: false,
    failure: (failure) => packFailure(failure, 0),
    read: (bytes): Message => {
      const envelope = readEnvelope(bytes);
      return {
        failure: (failure) => packFailure(failure, envelope.seq),
        answer: (ask) => {
          const mine = turn.then(() => answer(envelope, ask));
          turn = mine.catch(() => {
            // a robot that goes on after a failure goes on with a new chunk
            left = [];
          });
          return mine;
        },
      };
    },
  };
}

function readEnvelope(bytes: Uint8Array): Envelope {
  const fields = inside(unpackMsgpack(bytes));
  const type = fields?.get('type');
  const payload = inside(fields?.get('payload'));
  const seq = fields?.get('seq');
  if (typeof type === 'string' && payload !== null && Number.isSafeInteger(seq))
    return { type, payload, seq: seq as number };
  throw invalidRequest("vla-eval's message, a map with type, payload, seq and timestamp", 'something else');
}

function observationFields(payload: ReadonlyMap<string, unknown>): WireFields {
  const fields = wireFields(payload, { inside, decode });
  return {
    names: () => fields.names(),
    find: (key) => {
      for (const name of [key, ...(aliases[key] ?? []), `images/${key}`]) {
        const value = fields.find(name);
        if (value !== undefined) return value;
      }
      return undefined;
    },
  };
}

/** null: not a map, or one that stands for an array or an image. */
function inside(value: unknown): ReadonlyMap<string, unknown> | null {
  if (!(value instanceof Map)) return null;
  const { fields } = readKeys(value);
  return fields.has('__ndarray__') || fields.has('__image__') ? null : fields;
}

/** Arrays are marked by text, where openpi's are marked by bytes; images are PNG, JPEG or raw. */
function decode(value: unknown): WireValue {
  if (value === null || ['boolean', 'number', 'string'].includes(typeof value)) return value as WireValue;
  if (Array.isArray(value)) return value.map(decode);
  if (!(value instanceof Map)) throw invalidRequest('plain msgpack types', typeof value);
  const { fields } = readKeys(value);
  const isImage = fields.has('__image__');
  if (!isImage && !fields.has('__ndarray__'))
    return new Map([...fields].map(([key, item]) => [key, decode(item)]));
  const data = fields.get('data');
  if (!(data instanceof Uint8Array)) throw invalidRequest('`data` of an array to be bytes', typeof data);
  if (isImage && fields.get('format') !== 'raw') return new NdArray('|u1', [data.length], data);
  return new NdArray(checkDtype(fields.get('dtype')), checkShape(fields.get('shape')), data);
}

function encodeRow(row: Float64Array): unknown {
  const data = Buffer.from(row.buffer, row.byteOffset, row.byteLength);
  return { __ndarray__: true, data, dtype: '<f8', shape: [row.length] };
}

function pack(type: string, payload: object, seq: number): Buffer {
  return packMsgpack({ type, payload, seq, timestamp: Date.now() / 1000 });
}

function packFailure({ code, message }: Failure, seq: number): Buffer {
  return pack('error', { error: `${code}: ${message}` }, seq);
}

/**
 * What the benchmark should send, and what it gets: it configures itself by the first and compares the second, so that a server
 * without `--actions env` is noticed by its gripper. Only LIBERO's conventions are known here.
 */
function hello({ platform }: Policy): object {
  const isLibero = platform.name === 'libero';
  const observation_params = {
    ...(platform.cameras.length > 1 ? { send_wrist_image: true } : {}),
    ...(platform.proprio ? { send_state: true } : {}),
    ...(isLibero ? { env_seed: 0, quat_no_antipodal: true } : {}),
  };
  const common = {
    harness_version: 'semanticvla',
    protocol_version: protocolVersion,
    model_server: 'semanticvla',
    capabilities: {},
    observation_params,
  };
  if (!isLibero) return common;
  const image = { name: 'image', dims: 0, format: 'rgb_hwc_uint8' };
  const isEnv = platform.actions === 'env';
  return {
    ...common,
    action_spec: {
      position: { name: 'position', dims: 3, format: 'delta_xyz', range: [-1, 1] },
      rotation: { name: 'rotation', dims: 3, format: 'axis_angle', range: [-3.15, 3.15] },
      gripper: {
        name: 'gripper',
        dims: 1,
        format: isEnv ? 'binary_close_positive' : 'continuous_01',
        range: isEnv ? [-1, 1] : [0, 1],
      },
    },
    observation_spec: {
      agentview: image,
      language: { name: 'language', dims: 0, format: 'language' },
      ...(platform.cameras.length > 1 ? { wrist: image } : {}),
      ...(platform.proprio
        ? { state: { name: 'state', dims: 8, format: 'eef_pos3_axisangle3_gripper2' } }
        : {}),
    },
  };
}
