/**
 * LeRobot's remote policy: gRPC `transport.AsyncInference` (lerobot/transport/services.proto of lerobot 0.6.1), as its robot
 * client speaks it. Connections are ours, and counted as those of every port; @grpc/grpc-js reads what comes on them.
 */

import { createServer, type Server as NetServer, type Socket } from 'node:net';
import type * as grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { loadPackages } from '../../support/optionalPackage.ts';
import type { Policy } from '../../types.ts';
import type { Gate } from '../access.ts';
import type { Body } from '../bodyPool.ts';
import { ClientGone } from '../clientGone.ts';
import { type Connection, Connections } from '../connections.ts';
import type { Failure } from '../failure.ts';
import { denials, listenOn, noPlaces } from '../httpServer.ts';
import { invalidRequest } from '../ndarray.ts';
import type { ObservationKeys } from '../observationMap.ts';
import type { PolicyService } from '../policyService.ts';
import { pickleActions } from './actions.ts';
import { LatestObservation, RobotFeatures } from './session.ts';

type Grpc = typeof grpc;

const bytesAt = (id: number) => ({ fields: { data: { type: 'bytes', id } } });
const messages = protobuf.Root.fromJSON({
  nested: {
    Empty: { fields: {} },
    PolicySetup: bytesAt(1),
    Actions: bytesAt(1),
    Observation: { fields: { state: { type: 'int32', id: 1 }, data: { type: 'bytes', id: 2 } } },
  },
});

interface Data {
  readonly data?: Uint8Array;
  /** 1 begins, 2 goes on, 3 ends. */
  readonly state?: number;
}

function method(name: string, request: string, answer: string, requestStream = false) {
  const asked = messages.lookupType(request);
  const answered = messages.lookupType(answer);
  const write = (type: protobuf.Type) => (value: Data) => Buffer.from(type.encode(value).finish());
  const read = (type: protobuf.Type) => (bytes: Buffer) => type.decode(bytes) as Data;
  return {
    path: `/transport.AsyncInference/${name}`,
    requestStream,
    responseStream: false,
    requestSerialize: write(asked),
    requestDeserialize: read(asked),
    responseSerialize: write(answered),
    responseDeserialize: read(answered),
  } as const;
}

export const asyncInference = {
  Ready: method('Ready', 'Empty', 'Empty'),
  SendPolicyInstructions: method('SendPolicyInstructions', 'PolicySetup', 'Empty'),
  SendObservations: method('SendObservations', 'Observation', 'Empty', true),
  GetActions: method('GetActions', 'Empty', 'Actions'),
};

/** Bytes of one message; lerobot sends pieces of 2 MiB, and allows as much itself. */
const maxMessageBytes = 4 * 2 ** 20;
/** Milliseconds that GetActions waits for an observation, as lerobot's server does. */
const patienceMs = 2000;
/** Calls of one connection at a time: lerobot's client has two under way. */
const maxCalls = 16;

/** gRPC's status, by HTTP's. Its client repeats what is UNAVAILABLE or DEADLINE_EXCEEDED by itself. */
const statuses: Readonly<Record<number, keyof Grpc['status']>> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  408: 'DEADLINE_EXCEEDED',
  413: 'RESOURCE_EXHAUSTED',
  422: 'INVALID_ARGUMENT',
  503: 'RESOURCE_EXHAUSTED',
};

class TooLate extends Error {
  readonly failure: Failure;

  constructor(ms: number) {
    super();
    this.failure = { status: 408, code: 'TIMEOUT', message: `Expected a whole observation within ${ms} ms.` };
  }
}

interface Session {
  readonly connection: Connection;
  features: RobotFeatures | null;
  readonly latest: LatestObservation;
}

type Call = grpc.ServerUnaryCall<Data, Data> | grpc.ServerReadableStream<Data, Data>;

export interface LerobotOptions {
  readonly service: PolicyService;
  readonly policy: Policy;
  readonly keys: ObservationKeys;
  readonly gate: Gate;
}

/** @throws (rejects) PACKAGE_UNAVAILABLE */
export async function lerobotServer(options: LerobotOptions): Promise<LerobotServer> {
  const loaded = await loadPackages(
    "LeRobot's protocol",
    { names: ['@grpc/grpc-js'] },
    () => import('@grpc/grpc-js'),
  );
  return new LerobotServer(loaded, options);
}

export class LerobotServer {
  readonly connections: Connections;
  readonly #grpc: Grpc;
  readonly #options: LerobotOptions;
  readonly #net: NetServer;
  readonly #server: grpc.Server;
  readonly #sessions = new Map<string, Session>();
  readonly #ending = new AbortController();

  constructor(loaded: Grpc, options: LerobotOptions) {
    const { limits } = options.service;
    this.#grpc = loaded;
    this.#options = options;
    this.connections = new Connections(limits.connections);
    this.#server = new loaded.Server({
      'grpc.max_receive_message_length': maxMessageBytes,
      'grpc.max_concurrent_streams': maxCalls,
      'grpc.max_connection_idle_ms': limits.idleMs,
      'grpc.keepalive_time_ms': limits.idleMs,
      'grpc.keepalive_timeout_ms': limits.idleMs,
    });
    this.#server.addService(asyncInference, {
      Ready: this.#unary(async (session) => {
        session.features = null;
        session.latest.clear();
        return {};
      }),
      SendPolicyInstructions: this.#unary(async (session, { data = new Uint8Array() }) => {
        const { policy, keys } = options;
        session.features = new RobotFeatures(Buffer.from(data), policy, keys);
        return {};
      }),
      SendObservations: this.#handler(async (session, call) => {
        await this.#receive(session, call as grpc.ServerReadableStream<Data, Data>);
        return {};
      }),
      GetActions: this.#handler((session, call) => this.#actions(session, call)),
    });
    const injector = this.#server.createConnectionInjector(loaded.ServerCredentials.createInsecure());
    this.#net = createServer({ noDelay: true }, (socket: Socket) => {
      const connection = this.connections.accept(socket);
      const peer = `${socket.remoteAddress}:${socket.remotePort}`;
      const session = { connection, features: null, latest: new LatestObservation() };
      this.#sessions.set(peer, session);
      socket.once('close', () => {
        session.latest.clear();
        this.#sessions.delete(peer);
      });
      injector.injectConnection(socket);
    });
  }

  /** Resolves to the port. @throws (rejects) ADDRESS_UNAVAILABLE */
  listen(host: string, port: number): Promise<number> {
    return listenOn(this.#net, host, port);
  }

  /** Accepts no new connections and answers what is running. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      if (this.#net.listening) this.#net.close(() => resolve());
      else resolve();
    });
    this.#ending.abort();
    this.connections.drain();
    await closed;
    this.#server.forceShutdown();
  }

  #unary(answer: (session: Session, request: Data) => Promise<Data>): grpc.handleUnaryCall<Data, Data> {
    return this.#handler((session, call) =>
      answer(session, (call as grpc.ServerUnaryCall<Data, Data>).request),
    );
  }

  /** Lets a call in, and words what fails. */
  #handler(answer: (session: Session, call: Call) => Promise<Data>) {
    return (call: Call, done: grpc.sendUnaryData<Data>): void => {
      const session = this.#sessions.get(call.getPeer());
      const refusal = this.#refusal(call, session);
      if (refusal !== null || session === undefined) {
        done(this.#error(refusal ?? noPlaces));
        return;
      }
      session.connection.begin();
      const ended = answer(session, call).finally(() => session.connection.end());
      ended.then(
        (value) => done(null, value),
        (error: unknown) => done(this.#error(this.#failure(error))),
      );
    };
  }

  #failure(error: unknown): Failure {
    if (error instanceof TooLate) return error.failure;
    // nobody reads the answer to a call that was given up
    if (error instanceof ClientGone) return noPlaces;
    return this.#options.service.failed('lerobot', error);
  }

  #refusal(call: Call, session: Session | undefined): Failure | null {
    const { service, gate } = this.#options;
    const text = (name: string): string | undefined => call.metadata.get(name)[0]?.toString();
    const [authorization, origin] = [text('authorization'), text('origin')];
    const denial = gate({
      headers: {
        host: call.getHost(),
        ...(authorization === undefined ? {} : { authorization }),
        ...(origin === undefined ? {} : { origin }),
      },
    });
    if (denial !== null) {
      service.metrics.rejected('token');
      service.log.warn({ protocol: 'lerobot', code: denial.code }, 'request refused');
      return denials[denial.code](denial);
    }
    if (session !== undefined && this.connections.admit(session.connection)) return null;
    service.metrics.rejected('places');
    return noPlaces;
  }

  #error({ status, code, message }: Failure): grpc.ServerErrorResponse {
    const name = code === 'DRAINING' ? 'UNAVAILABLE' : (statuses[status] ?? 'INTERNAL');
    const details = `${code}: ${message}`;
    return Object.assign(new Error(details), { code: this.#grpc.status[name], details });
  }

  /** One observation, in pieces. */
  async #receive(session: Session, call: grpc.ServerReadableStream<Data, Data>): Promise<void> {
    const { service } = this.#options;
    const features = ready(session);
    let fail: (error: unknown) => void = () => {};
    const failed = new Promise<never>((_, reject) => {
      fail = reject;
    });
    failed.catch(() => {});
    const body: Body = service.bodies.begin(null, (error) => {
      session.latest.drop(body);
      fail(error);
    });
    const timer = setTimeout(() => {
      service.metrics.disconnected('lerobot', 'late');
      fail(new TooLate(service.limits.requestMs));
    }, service.limits.requestMs);
    call.once('cancelled', () => fail(new ClientGone()));
    try {
      await Promise.race([readPieces(call, body), failed]);
      body.lease.arrived();
      session.latest.offer(body, features.read(body.bytes()));
    } catch (error) {
      body.release();
      call.resume();
      if (error instanceof ClientGone) service.metrics.disconnected('lerobot', 'upload');
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** No data: no observation has come meanwhile. */
  async #actions(session: Session, call: Call): Promise<Data> {
    const { service } = this.#options;
    const { rows } = ready(session);
    const caller = new AbortController();
    const onGone = (): void => caller.abort(new ClientGone());
    call.once('cancelled', onGone);
    const held = await session.latest.take(patienceMs, [caller.signal, this.#ending.signal]);
    if (held === null) return {};
    const { body, observation } = held;
    const { timestamp, timestep } = observation;
    try {
      const start = performance.now();
      const bytes = body.length;
      const ticket = { protocol: 'lerobot', asker: session.connection, caller, lease: body.lease } as const;
      const { chunk, inferMs } = await service.infer(observation.fields, ticket);
      const data = pickleActions(chunk, { timestamp, timestep, rows });
      session.latest.predicted(timestep);
      service.answered('lerobot', { bytes, inferMs, totalMs: performance.now() - start });
      return { data };
    } catch (error) {
      if (caller.signal.reason instanceof ClientGone) {
        service.metrics.disconnected('lerobot', 'inference');
        throw caller.signal.reason;
      }
      throw error;
    } finally {
      call.off('cancelled', onGone);
      body.release();
    }
  }
}

/** @throws REQUEST_INVALID */
function ready({ features }: Session): RobotFeatures {
  if (features !== null) return features;
  throw invalidRequest(
    'Ready and SendPolicyInstructions first on this connection',
    'none. Start the robot client again; after a break it does not introduce itself',
  );
}

/** @throws (rejects) REQUEST_INVALID, REQUEST_TOO_LARGE, OVERLOADED */
async function readPieces(call: AsyncIterable<Data>, body: Body): Promise<void> {
  let last = 0;
  for await (const { state = 0, data = new Uint8Array() } of call) {
    const isNext = last === 0 ? state === 1 || state === 3 : last !== 3 && (state === 2 || state === 3);
    if (!isNext)
      throw invalidRequest('pieces that begin, go on and end', `transfer state ${state} after ${last}`);
    body.append(data);
    last = state;
  }
  if (last !== 3) throw invalidRequest('a piece that ends the observation', 'none');
}
