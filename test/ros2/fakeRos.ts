/**
 * rclnodejs's interface in memory, as far as the node uses it: topics, quality of service, parameters with overrides.
 * Messages are delivered at once. What real ROS 2 refuses is refused here too.
 */

import type { RosModule, RosNode, RosParameter, RosPublisher } from '../../lib/ros2/rosInterface.ts';

interface FakeQos {
  readonly history: number;
  readonly depth: number;
  readonly reliability: number;
  readonly durability: number;
}

export interface FakeSubscription {
  readonly type: string;
  readonly topic: string;
  readonly qos: FakeQos;
  readonly callback: (message: never) => void;
}

const bestEffort = 2;

class FakeParameter implements RosParameter {
  readonly name: string;
  readonly type: number;
  readonly value: unknown;
  constructor(name: string, type: number, value?: unknown) {
    this.name = name;
    this.type = type;
    this.value = value;
  }
}

class FakeQosProfile implements FakeQos {
  static readonly HistoryPolicy = { RMW_QOS_POLICY_HISTORY_KEEP_LAST: 1 };
  static readonly ReliabilityPolicy = {
    RMW_QOS_POLICY_RELIABILITY_RELIABLE: 1,
    RMW_QOS_POLICY_RELIABILITY_BEST_EFFORT: 2,
  };
  static readonly DurabilityPolicy = { RMW_QOS_POLICY_DURABILITY_VOLATILE: 2 };
  readonly history: number;
  readonly depth: number;
  readonly reliability: number;
  readonly durability: number;
  constructor(history: number, depth: number, reliability: number, durability: number) {
    this.history = history;
    this.depth = depth;
    this.reliability = reliability;
    this.durability = durability;
  }
}

export class FakeRos {
  readonly subscriptions: FakeSubscription[] = [];
  readonly published: { readonly topic: string; readonly type: string; readonly message: unknown }[] = [];
  readonly logs: string[] = [];
  readonly declared = new Map<string, unknown>();
  destroyed = 0;
  spinning = false;
  /** As the package is loaded: it would shut ROS down at SIGINT. */
  hasSignalHandlers = true;
  readonly #overrides: Readonly<Record<string, unknown>>;

  /** @param overrides parameters as a launch file gives them */
  constructor(overrides: Readonly<Record<string, unknown>> = {}) {
    this.#overrides = overrides;
  }

  /** Sends as another node would. A reliable subscription does not hear a best-effort publisher. */
  send(topic: string, message: unknown, reliability = 1): number {
    const heard = this.subscriptions.filter(
      (subscription) =>
        subscription.topic === topic &&
        (reliability !== bestEffort || subscription.qos.reliability === bestEffort),
    );
    for (const { callback } of heard) callback(message as never);
    return heard.length;
  }

  module(): RosModule {
    const fake = this;
    class FakeNode implements RosNode {
      readonly #name: string;
      constructor(name: string, namespace = '') {
        this.#name = `${namespace}/${name}`;
      }
      declareParameter(parameter: RosParameter): RosParameter {
        if (fake.declared.has(parameter.name))
          throw new Error(`Parameter(${parameter.name}) already declared.`);
        const { name, type } = parameter as FakeParameter;
        const value = Object.hasOwn(fake.#overrides, name) ? fake.#overrides[name] : parameter.value;
        fake.declared.set(name, value);
        return new FakeParameter(name, type, value);
      }
      createSubscription(
        type: string,
        topic: string,
        options: { qos: unknown },
        callback: (message: never) => void,
      ): unknown {
        fake.subscriptions.push({ type, topic: this.#expand(topic), qos: options.qos as FakeQos, callback });
        return {};
      }
      createPublisher(type: string, topic: string): RosPublisher {
        const expanded = this.#expand(topic);
        return {
          publish: (message) => {
            fake.published.push({ topic: expanded, type, message });
          },
        };
      }
      getLogger() {
        const log = (level: string) => (text: string) => fake.logs.push(`${level} ${text}`);
        return { info: log('info'), warn: log('warn'), error: log('error') };
      }
      now() {
        return { toMsg: () => ({ sec: 7, nanosec: 500 }) };
      }
      spin(): void {
        if (fake.spinning) throw new Error('The node is already spinning.');
        fake.spinning = true;
      }
      destroy(): void {
        fake.destroyed++;
        fake.subscriptions.length = 0;
      }
      #expand(topic: string): string {
        if (topic.startsWith('~/')) return `${this.#name}/${topic.slice(2)}`;
        return topic.startsWith('/') ? topic : `/${topic}`;
      }
    }
    return {
      init: async () => {},
      shutdown: () => {},
      removeSignalHandlers: () => {
        fake.hasSignalHandlers = false;
      },
      Node: FakeNode,
      Parameter: FakeParameter,
      ParameterType: {
        PARAMETER_STRING: 4,
        PARAMETER_DOUBLE: 3,
        PARAMETER_STRING_ARRAY: 9,
        PARAMETER_DOUBLE_ARRAY: 8,
      },
      QoS: FakeQosProfile,
    };
  }
}
