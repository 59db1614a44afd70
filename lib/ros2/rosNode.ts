/**
 * A policy as a ROS 2 node: it receives images, joint states and the instruction, and sends one command per tick. The
 * control loop is that of lib/schedule, with fresh observations of the current instruction only, limits, and HOLD.
 */

import { observationGuard } from '../observation/observationGuard.ts';
import { type ActionSpace, resolveActionSpace } from '../schedule/actionSpace.ts';
import { asynchronous } from '../schedule/asynchronous.ts';
import type { Clock } from '../schedule/clock.ts';
import { monotonicClock } from '../schedule/clock.ts';
import { type ControlLoop, startControlLoop } from '../schedule/controlLoop.ts';
import type { LimitOptions } from '../schedule/limits.ts';
import type { LoopEvent, SentAction } from '../schedule/loopEvents.ts';
import { openLoop } from '../schedule/openLoop.ts';
import { overlapBlend } from '../schedule/overlapBlend.ts';
import type { ActionScheduler, ScheduleOptions } from '../schedule/scheduler.ts';
import { temporalEnsemble } from '../schedule/temporalEnsemble.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import { checkOptions } from '../support/options.ts';
import type { Policy } from '../types.ts';
import {
  commandOf,
  commandTypes,
  decodedFrameOf,
  frameOf,
  jointPositions,
  stampOf,
  trajectoryOf,
} from './messages.ts';
import { type NodeParameters, readParameters } from './nodeParameters.ts';
import type {
  RosCompressedImage,
  RosImage,
  RosJointState,
  RosModule,
  RosNode,
  RosNumbers,
} from './rosInterface.ts';
import { SensorInbox } from './sensorInbox.ts';

/** The policy that a node runs, and the ROS that it runs on. */
export interface RosNodeOptions {
  readonly policy: Policy;
  /** The package rclnodejs, whether or not already initialized; see `loadRclnodejs`. */
  readonly ros: RosModule;
  /** Default `semanticvla`. */
  readonly name?: string;
  /** Default: none. */
  readonly namespace?: string;
  readonly limits?: LimitOptions;
  /** Needed for a platform without a preset. */
  readonly space?: ActionSpace;
  /** Default: the process's monotonic clock. */
  readonly clock?: Clock;
}

/** Warnings that repeat with every tick are logged at most this often, milliseconds. */
const warnEveryMs = 5000;

/**
 * Makes the node on an initialized rclnodejs, and spins it. Parameters are read once, here (docs/ros2.md). Without an
 * instruction it waits for one; an empty one makes it hold and wait again.
 *
 * rclnodejs's own handler of SIGINT is taken away: it shuts ROS down before the last HOLD could leave. Whoever starts the node
 * ends it, as examples/ros2/node.ts does.
 *
 * @throws OPTION_REQUIRED, OPTION_INVALID for a parameter or an option
 */
export function startRosNode(options: RosNodeOptions): RosPolicyNode {
  checkOptions(options, ['policy', 'ros', 'name', 'namespace', 'limits', 'space', 'clock'], 'startRosNode');
  options.ros.removeSignalHandlers();
  const node = new options.ros.Node(options.name ?? 'semanticvla', options.namespace ?? '');
  try {
    return new RosPolicyNode(options, node);
  } catch (error) {
    node.destroy();
    throw error;
  }
}

/** The package rclnodejs. @throws (rejects) PACKAGE_UNAVAILABLE if it is not installed, or no ROS 2 is sourced */
export async function loadRclnodejs(): Promise<RosModule> {
  const name = 'rclnodejs';
  try {
    return ((await import(name)) as { default: RosModule }).default;
  } catch (cause) {
    throw new SemanticVlaError(
      'PACKAGE_UNAVAILABLE',
      `The package rclnodejs: expected to load, found: ${(cause as Error).message}. Source your ROS 2 ` +
        '(`source /opt/ros/$ROS_DISTRO/setup.bash`), then install it with `npm i rclnodejs` (docs/ros2.md).',
      { cause },
    );
  }
}

interface Arrival {
  readonly message: RosCompressedImage;
  readonly at: number;
  readonly episode: number;
}

/** A running ROS 2 node around a policy. */
export class RosPolicyNode implements AsyncDisposable {
  readonly parameters: NodeParameters;
  readonly scheduler: ActionScheduler;
  readonly #node: RosNode;
  readonly #options: RosNodeOptions;
  readonly #clock: Clock;
  readonly #inbox: SensorInbox;
  readonly #send: (action: SentAction) => void;
  /** Uses ROS's logger; if that fails, the loop goes on. */
  readonly #say: (level: 'info' | 'warn' | 'error', what: string, problem: unknown) => void;
  #loop: ControlLoop | null = null;
  #warnedAt = Number.NEGATIVE_INFINITY;
  #stopped = false;

  /** Made by `startRosNode`. */
  constructor(options: RosNodeOptions, node: RosNode) {
    const { ros, policy } = options;
    this.#options = options;
    this.#node = node;
    this.#say = isolated('the logger of the ROS node', (level, what, problem) =>
      node.getLogger()[level](`${what}${text(problem)}`),
    );
    this.#clock = options.clock ?? monotonicClock(1.5);
    this.parameters = readParameters(ros, node, policy, resolveActionSpace(policy, options.space));
    const { cameras, proprio } = policy.platform;
    const { frozenMs } = this.parameters;
    const guard = observationGuard({ cameras, frozenMs, ...(proprio ? {} : { stateLength: 'none' }) });
    this.#inbox = new SensorInbox(cameras, proprio, guard);
    this.scheduler = scheduled(policy, this.parameters, {
      clock: this.#clock,
      ...(options.space === undefined ? {} : { space: options.space }),
      onEvent: (event) => {
        if (event.type === 'failure' || event.type === 'refused') this.#warn(event.error);
      },
    });
    const { reliable, sensor } = qualities(ros);
    this.#send = sender(node, this.parameters, reliable);
    this.#subscribe(sensor, reliable);
    node.spin();
    this.setInstruction(this.parameters.instruction);
  }

  /** The loop running for the current instruction; null if there is none. */
  get loop(): ControlLoop | null {
    return this.#loop;
  }

  /** An empty one: hold and wait for another. */
  setInstruction(instruction: string): void {
    const sentence = instruction.trim();
    if (sentence === '') {
      void this.#endLoop();
      return;
    }
    if (this.#loop?.running) this.#loop.setInstruction(sentence);
    else this.#startLoop(sentence);
  }

  /** Starts a new episode: anything seen or planned before no longer counts. */
  reset(): void {
    this.#inbox.reset();
    if (this.#loop?.running) this.#loop.reset();
  }

  /** Holds once, ends the loop and destroys the node; policy and rclnodejs stay with the caller. Idempotent. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.#endLoop();
    this.#node.destroy();
  }

  /** Closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #subscribe(sensor: unknown, reliable: unknown): void {
    const { imageTopics, imageTransport, stateTopic, stateType, jointNames, instructionTopic } =
      this.parameters;
    const { cameras, proprio } = this.#options.policy.platform;
    const on = (type: string, topic: string, qos: unknown, take: (message: never) => void): void => {
      this.#node.createSubscription(type, topic, { qos }, (message) => {
        if (this.#stopped) return;
        try {
          take(message);
        } catch (error) {
          this.#warn(error);
        }
      });
    };
    for (const [i, camera] of cameras.entries()) {
      const topic = imageTopics[i]!;
      if (imageTransport === 'raw') {
        on('sensor_msgs/msg/Image', topic, sensor, (message: RosImage) =>
          this.#inbox.putFrame(
            camera,
            frameOf(message, camera),
            this.#clock.now(),
            stampOf(message.header.stamp),
          ),
        );
      } else {
        on('sensor_msgs/msg/CompressedImage', topic, sensor, this.#decoding(camera));
      }
    }
    if (proprio && stateType === 'joint_state') {
      on('sensor_msgs/msg/JointState', stateTopic, sensor, (message: RosJointState) =>
        this.#inbox.putState(
          jointPositions(message, jointNames),
          this.#clock.now(),
          stampOf(message.header.stamp),
        ),
      );
    } else if (proprio) {
      on('std_msgs/msg/Float64MultiArray', stateTopic, sensor, ({ data }: RosNumbers) =>
        this.#inbox.putState(Float64Array.from(data), this.#clock.now(), null),
      );
    }
    on('std_msgs/msg/String', instructionTopic, reliable, ({ data }: { data: string }) =>
      this.setInstruction(data),
    );
    on('std_msgs/msg/Empty', '~/reset', reliable, () => this.reset());
  }

  /**
   * Decodes one image per camera at a time; of those that arrive meanwhile only the newest is kept, so a slow decoder costs
   * frames, not memory. A frame's time and episode are those of its arrival, not of its decoding.
   */
  #decoding(camera: string): (message: RosCompressedImage) => void {
    let busy = false;
    let waiting: Arrival | null = null;
    const counts = ({ episode }: Arrival): boolean => !this.#stopped && episode === this.#inbox.episode;
    const decode = async (arrival: Arrival): Promise<void> => {
      const { message, at } = arrival;
      busy = true;
      try {
        const frame = await decodedFrameOf(message, camera);
        if (counts(arrival)) this.#inbox.putFrame(camera, frame, at, stampOf(message.header.stamp));
      } catch (error) {
        this.#warn(error);
      }
      busy = false;
      const next = waiting;
      waiting = null;
      if (next !== null && counts(next)) await decode(next);
    };
    return (message) => {
      const arrival = { message, at: this.#clock.now(), episode: this.#inbox.episode };
      if (busy) waiting = arrival;
      else void decode(arrival);
    };
  }

  #startLoop(instruction: string): void {
    const { rate, maxAgeMs, unnormKey } = this.parameters;
    const { limits } = this.#options;
    const loop = startControlLoop({
      scheduler: this.scheduler,
      rate,
      maxAge: maxAgeMs,
      instruction,
      observe: () => this.#inbox.observe(),
      act: this.#send,
      clock: this.#clock,
      onEvent: (event) => this.#hear(event),
      ...(unnormKey === null ? {} : { unnormKey }),
      ...(limits === undefined ? {} : { limits }),
    });
    this.#loop = loop;
    loop.done.catch((error) => this.#say('error', 'The control loop ended: ', error));
    this.#say('info', `${this.parameters.mode} at ${rate} Hz: `, instruction);
  }

  async #endLoop(): Promise<void> {
    const loop = this.#loop;
    this.#loop = null;
    try {
      await loop?.stop();
    } catch {
      // already logged when it happened
    }
    if (loop !== null) this.scheduler.reset();
  }

  #hear(event: LoopEvent): void {
    if (event.type === 'observation' || event.type === 'holdLost') this.#warn(event.error);
    else if (event.type === 'clock') this.#warn(`the clock went back by ${event.back} ms`);
    else if (event.type === 'hold' && event.reason !== 'idle' && event.reason !== 'stopped') {
      this.#warn(`holding: ${event.reason}`);
    }
  }

  #warn(problem: unknown): void {
    const now = this.#clock.now();
    if (now - this.#warnedAt < warnEveryMs) return;
    this.#warnedAt = now;
    this.#say('warn', '', problem);
  }
}

function text(problem: unknown): string {
  if (problem instanceof SemanticVlaError) return `${problem.code}: ${problem.message}`;
  return problem instanceof Error ? problem.message : String(problem);
}

function scheduled(policy: Policy, parameters: NodeParameters, options: ScheduleOptions): ActionScheduler {
  switch (parameters.mode) {
    case 'open_loop':
      return openLoop(policy, options);
    case 'asynchronous':
      return asynchronous(policy, options);
    case 'overlap_blend':
      return overlapBlend(policy, { ...options, rule: parameters.blendRule! });
    case 'temporal_ensemble':
      return temporalEnsemble(policy, options);
  }
}

/** Publishes an action: to each controller its part, or all of it as one trajectory point. */
function sender(
  node: RosNode,
  { rate, controllers, actionTopic, actionNames }: NodeParameters,
  qos: unknown,
): (action: SentAction) => void {
  const periodMs = 1000 / rate;
  if (controllers.length === 0) {
    const publisher = node.createPublisher(commandTypes.joint_trajectory, actionTopic, { qos });
    return ({ values }) => publisher.publish(trajectoryOf(values, actionNames, periodMs));
  }
  const publishers = controllers.map((controller) => ({
    controller,
    publisher: node.createPublisher(commandTypes[controller.type], controller.topic, { qos }),
  }));
  return ({ values }) => {
    for (const { controller, publisher } of publishers) {
      publisher.publish(commandOf(controller, values, periodMs, () => node.now().toMsg()));
    }
  };
}

/** Sensors: only the newest message, losses allowed. Instructions and actions: reliable, without history for late joiners. */
function qualities({ QoS }: RosModule): { sensor: unknown; reliable: unknown } {
  const { RMW_QOS_POLICY_HISTORY_KEEP_LAST: last } = QoS.HistoryPolicy;
  const {
    RMW_QOS_POLICY_RELIABILITY_RELIABLE: reliable,
    RMW_QOS_POLICY_RELIABILITY_BEST_EFFORT: bestEffort,
  } = QoS.ReliabilityPolicy;
  const { RMW_QOS_POLICY_DURABILITY_VOLATILE: volatile } = QoS.DurabilityPolicy;
  return { sensor: new QoS(last, 1, bestEffort, volatile), reliable: new QoS(last, 1, reliable, volatile) };
}
