/**
 * `POST /act` (docs/model.md, Serving protocol of the reference): the answer is a list of C arrays. Failures have proper status
 * codes; with `compat` they are what the reference sends: status 200 and the JSON string "error".
 */

import type { ActionChunk } from '../types.ts';
import type { ActAnswer } from './actAnswers.ts';
import { failureAnswer, type HttpAnswer, policyHeader } from './httpAnswer.ts';
import type { InferForm } from './inferPage.ts';
import { JsonSyntaxError } from './jsonBytes.ts';
import { decodeActRequest, encodeActions } from './jsonNumpy.ts';
import { codingFault, typeFault } from './jsonType.ts';
import { float64Array, type NdArray } from './ndarray.ts';
import type { PolicyService } from './policyService.ts';

/** FastAPI's answer to a body that is not JSON. */
const jsonInvalid =
  '{"detail":[{"type":"json_invalid","loc":["body",0],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting value"}}]}';

/** What FastAPI says to another method. */
export const methodNotAllowed: HttpAnswer = { status: 405, text: '{"detail":"Method Not Allowed"}' };

export function actForm(service: PolicyService, compat: boolean, form: ActAnswer): InferForm {
  const headers = { [policyHeader]: service.fingerprint };
  return {
    protocol: 'act',
    refusal: (given) => {
      // clients of the other forms name no type; a web page is refused by its origin
      const isUntyped = form !== 'rows' && given['content-type'] === undefined;
      const message = isUntyped ? codingFault(given) : typeFault(given);
      if (message === null) return null;
      return { ...failureAnswer({ status: 415, code: 'REQUEST_INVALID', message }), headers };
    },
    read: (body) => {
      const { fields, encoded } = decodeActRequest(body);
      return {
        fields,
        answer: (chunk) => ({ status: 200, headers, text: encode(chunk, form, encoded) }),
      };
    },
    failed: (error) => {
      const failure = service.failed('act', error);
      if (!compat || failure.code === 'REQUEST_TOO_LARGE') {
        const { status, headers: more, text } = failureAnswer(failure);
        return { status, headers: { ...headers, ...more }, text };
      }
      // FastAPI refuses these itself; the reference's own handler answers "error" to everything else.
      if (error instanceof JsonSyntaxError) return { status: 422, headers, text: jsonInvalid };
      return { status: 200, headers, text: '"error"' };
    },
  };
}

function encode(chunk: ActionChunk, form: ActAnswer, encoded: boolean): string {
  const rows = actionRows(chunk);
  if (form === 'rows') return encodeActions(rows, encoded);
  const lists = rows.map((row) => [...row.numbers()]);
  const text = JSON.stringify(form === 'action' ? lists[0] : form === 'lists' ? lists : { actions: lists });
  return encoded ? JSON.stringify(text) : text;
}

/** [C, A] -> C arrays [A], which are views. */
function actionRows({ actions, shape: [count, width] }: ActionChunk): NdArray[] {
  const rows: NdArray[] = [];
  for (let at = 0; at < count * width; at += width)
    rows.push(float64Array(actions.subarray(at, at + width), [width]));
  return rows;
}
