/**
 * A recording as MCAP with ROS 2 messages (profile `ros2`, CDR): what Foxglove, rosbag2 and PlotJuggler open. Frames are
 * JPEG, so that a minute is a few megabytes; the numbers are those that the robot was sent.
 */

import { checkPackages, loadPackages } from '../../support/optionalPackage.ts';
import { checkSharp, loadSharp } from '../../support/sharp.ts';
import type { FlightFacts } from './flightTimeline.ts';
import type { Recording } from './recorder.ts';
import { eventKinds, eventReasons } from './rings.ts';
import { type RosType, rosSchemas } from './rosSchemas.ts';
import type { Scene, SceneFrame } from './sceneRing.ts';

const what = 'MCAP recording';
const optional = { names: ['@mcap/core', '@foxglove/rosmsg', '@foxglove/rosmsg2-serialization'] };
const jpegQuality = 90;
/** Of `rcl_interfaces/msg/Log`. */
const levels = { info: 20, warn: 30, error: 40 } as const;

/** Only looks whether what `encodeMcap` needs is installed. @throws PACKAGE_UNAVAILABLE */
export function checkMcap(): void {
  checkPackages(what, optional);
  checkSharp(what);
}

interface Message {
  readonly topic: string;
  readonly type: RosType;
  /** ms of `performance.now()` */
  readonly at: number;
  readonly body: (stamp: { sec: number; nanosec: number }) => unknown;
}

/**
 * @param scenes oldest first
 * @returns the file's bytes
 * @throws (rejects) PACKAGE_UNAVAILABLE
 */
export async function encodeMcap(
  recording: Recording,
  scenes: readonly Scene[],
  facts: FlightFacts,
): Promise<Uint8Array> {
  const [{ McapWriter, TempBuffer }, { parse }, { MessageWriter }] = await loadPackages(what, optional, () =>
    Promise.all([
      import('@mcap/core'),
      import('@foxglove/rosmsg'),
      import('@foxglove/rosmsg2-serialization'),
    ]),
  );
  const file = new TempBuffer();
  const writer = new McapWriter({ writable: file });
  await writer.start({ profile: 'ros2', library: 'semanticvla' });
  await writer.addMetadata({
    name: 'semanticvla',
    metadata: new Map([
      ['title', facts.title],
      ['why', facts.why],
    ]),
  });
  const dimensions = scenes.findLast(({ answer }) => answer !== null)?.answer?.dimensions;
  const messages = [
    ...(await framesOf(scenes)),
    ...scenes.flatMap(sceneMessages),
    ...sentMessages(recording, dimensions),
    ...eventMessages(recording),
  ].sort((a, b) => a.at - b.at);
  const channels = new Map<
    string,
    { id: number; sequence: number; writer: InstanceType<typeof MessageWriter> }
  >();
  const schemas = new Map<RosType, number>();
  for (const { topic, type, at, body } of messages) {
    let channel = channels.get(topic);
    if (channel === undefined) {
      const data = new TextEncoder().encode(rosSchemas[type]);
      const schemaId =
        schemas.get(type) ?? (await writer.registerSchema({ name: type, encoding: 'ros2msg', data }));
      schemas.set(type, schemaId);
      const id = await writer.registerChannel({
        schemaId,
        topic,
        messageEncoding: 'cdr',
        metadata: new Map(),
      });
      channel = { id, sequence: 0, writer: new MessageWriter(parse(rosSchemas[type], { ros2: true })) };
      channels.set(topic, channel);
    }
    const ms = facts.realtimeMs + at - facts.nowMs;
    const sec = Math.floor(ms / 1000);
    const stamp = { sec, nanosec: Math.floor((ms - sec * 1000) * 1e6) };
    const logTime = BigInt(sec) * 1_000_000_000n + BigInt(stamp.nanosec);
    await writer.addMessage({
      channelId: channel.id,
      sequence: channel.sequence++,
      logTime,
      publishTime: logTime,
      data: channel.writer.writeMessage(body(stamp)),
    });
  }
  await writer.end();
  return file.get();
}

async function framesOf(scenes: readonly Scene[]): Promise<Message[]> {
  const sharp = await loadSharp(what);
  const jpeg = ({ data, width, height, order }: SceneFrame): Promise<Uint8Array> => {
    if (order === 'bgr') exchangeRedAndBlue(data);
    return sharp(data, { raw: { width, height, channels: 3 } })
      .jpeg({ quality: jpegQuality })
      .toBuffer();
  };
  const messages: Message[] = [];
  for (const { at, frames } of scenes) {
    for (const frame of frames) {
      const data = await jpeg(frame);
      messages.push({
        topic: `/semanticvla/${frame.camera}/compressed`,
        type: 'sensor_msgs/msg/CompressedImage',
        at,
        body: (stamp) => ({ header: { stamp, frame_id: frame.camera }, format: 'jpeg', data }),
      });
    }
  }
  return messages;
}

/** In place: the buffers are this thread's own. */
function exchangeRedAndBlue(data: Uint8Array): void {
  for (let i = 0; i < data.length; i += 3) {
    const first = data[i]!;
    data[i] = data[i + 2]!;
    data[i + 2] = first;
  }
}

function sceneMessages(scene: Scene, index: number, scenes: readonly Scene[]): Message[] {
  const { at, instruction, state, answer } = scene;
  const messages: Message[] = [];
  if (instruction !== scenes[index - 1]?.instruction) {
    const body = (): unknown => ({ data: instruction });
    messages.push({ topic: '/semanticvla/instruction', type: 'std_msgs/msg/String', at, body });
  }
  if (state.length > 0) {
    const names = Array.from(state, (_, i) => `state_${i}`);
    messages.push(joints('/semanticvla/state', at, names, state));
  }
  if (answer !== null && answer.dimensions.length > 0) {
    const columns = answer.dimensions.length;
    const rows = answer.actions.length / columns;
    const dim = [
      { label: 'action', size: rows, stride: rows * columns },
      { label: answer.dimensions.join(' '), size: columns, stride: columns },
    ];
    messages.push({
      topic: '/semanticvla/chunk',
      type: 'std_msgs/msg/Float64MultiArray',
      at: answer.at,
      body: () => ({ layout: { dim, data_offset: 0 }, data: answer.actions }),
    });
  }
  return messages;
}

/** A value of each dimension under its name, which is what plots are chosen by. */
function joints(topic: string, at: number, name: readonly string[], position: Float64Array): Message {
  const body = (stamp: unknown): unknown => ({
    header: { stamp, frame_id: '' },
    name,
    position,
    velocity: [],
    effort: [],
  });
  return { topic, type: 'sensor_msgs/msg/JointState', at, body };
}

function sentMessages({ sent }: Recording, dimensions: readonly string[] | undefined): Message[] {
  if (sent === null) return [];
  const columns = sent.at.length === 0 ? 0 : sent.values.length / sent.at.length;
  const fits = dimensions?.length === columns;
  const names = fits ? dimensions : Array.from({ length: columns }, (_, i) => `action_${i}`);
  return Array.from(sent.at, (at, row) =>
    joints('/semanticvla/action', at, names, sent.values.subarray(row * columns, (row + 1) * columns)),
  );
}

const warnings: ReadonlySet<string> = new Set(['hold', 'late', 'abandoned', 'rejected', 'limited', 'missed']);
const errors: ReadonlySet<string> = new Set(['failure', 'deadline missed', 'clock back', 'last hold lost']);
/** As many as actions: they are messages of their own. */
const unsaid: ReadonlySet<string> = new Set(['executed']);

function eventMessages({ events }: Recording): Message[] {
  return Array.from(events.at, (at, row) => ({ at, row })).flatMap(({ at, row }): Message[] => {
    const kind = eventKinds[events.kind[row]!]!;
    if (unsaid.has(kind)) return [];
    const reason = eventReasons[events.reason[row]!]!;
    const value = events.value[row]!;
    const msg = [kind, reason, Number.isNaN(value) ? '' : `${value}`].filter((part) => part !== '').join(' ');
    const level = errors.has(kind) ? levels.error : warnings.has(kind) ? levels.warn : levels.info;
    return [
      {
        topic: '/semanticvla/log',
        type: 'rcl_interfaces/msg/Log',
        at,
        body: (stamp) => ({ stamp, level, name: 'semanticvla', msg, file: '', function: '', line: 0 }),
      },
    ];
  });
}
