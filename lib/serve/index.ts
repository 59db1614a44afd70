/**
 * Policies on the network: one policy behind `POST /act` (OpenVLA-OFT's protocol) and openpi's WebSocket, with access, limits,
 * health, metrics and a log.
 *
 * @module semanticvla/serve
 */

export type { ActAnswer } from './actAnswers.ts';
export type { ServeLimits } from './limits.ts';
export type { LiveOptions } from './live/liveFeed.ts';
export type { ObservationKeys } from './observationMap.ts';
export type { PolicyServer } from './policyServer.ts';
export { type ServeOptions, servePolicy } from './servePolicy.ts';
export type { Rejection, ServeRecorder } from './serverMetrics.ts';
