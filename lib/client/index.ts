/**
 * Policies on other machines, used like local ones: over `POST /act` or openpi's WebSocket, with a deadline, holding and
 * reconnecting; and a server measured as its clients see it. Importing it loads nothing
 * native.
 *
 * @module semanticvla/client
 */

export { type BenchServerOptions, benchServer, type ServerBench } from './benchServer.ts';
export { connectAct, connectOpenpi } from './connect.ts';
export type { FleetEvent } from './fleetTransport.ts';
export type { GivenFacts } from './remoteFacts.ts';
export type { RemoteEvent, RemoteOptions, RemotePolicy } from './remotePolicy.ts';
export { type ReportOptions, reportLoop } from './reportLoop.ts';
export { serverPage } from './serverPage.ts';
