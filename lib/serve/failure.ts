/**
 * What a client is told about an error: a code and, where the error concerns its own request, the message. Nothing else goes
 * out, because other messages name files of this machine.
 */

import { type ErrorCode, SemanticVlaError } from '../support/errors.ts';

export interface Failure {
  /** HTTP status. */
  readonly status: number;
  readonly code: ErrorCode | 'INTERNAL' | 'NOT_FOUND' | 'METHOD_NOT_ALLOWED' | 'FORBIDDEN' | 'TIMEOUT';
  readonly message: string;
}

/** Errors about a request, with their status. Their messages quote at most a few characters of the request. */
export const clientErrors: Partial<Record<ErrorCode, number>> = {
  REQUEST_INVALID: 400,
  UNAUTHORIZED: 401,
  REQUEST_TOO_LARGE: 413,
  OBSERVATION_INVALID: 422,
  CAMERA_MISSING: 422,
  IMAGE_INVALID: 422,
  IMAGE_DTYPE: 422,
  IMAGE_TOO_LARGE: 422,
  STATE_INVALID: 422,
  UNNORM_KEY_OTHER: 422,
  INSTRUCTION_INVALID: 422,
  INSTRUCTION_TOO_LONG: 422,
  OVERLOADED: 503,
  DRAINING: 503,
};

export function failureOf(error: unknown): Failure {
  if (!(error instanceof SemanticVlaError)) {
    return { status: 500, code: 'INTERNAL', message: 'The server failed. Its log tells why.' };
  }
  const status = clientErrors[error.code];
  if (status !== undefined) return { status, code: error.code, message: error.message };
  return {
    status: error.code === 'CLOSED' ? 503 : 500,
    code: error.code,
    message: 'The policy failed. The log of the server tells why.',
  };
}

/** The body of an HTTP error. */
export function failureBody({ code, message }: Pick<Failure, 'code' | 'message'>): string {
  return JSON.stringify({ error: { code, message } });
}
