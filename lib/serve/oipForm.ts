/**
 * `POST /v2/models/semanticvla/infer`: the Open Inference Protocol, version 2, with its binary tensors, as Triton's and KServe's
 * clients send it. The inputs are the fields of an observation, under the keys that any request has here; the output is `actions`.
 */

import type { IncomingHttpHeaders } from 'node:http';
import type { ActionChunk } from '../types.ts';
import type { Failure } from './failure.ts';
import { failureAnswer, type HttpAnswer } from './httpAnswer.ts';
import type { InferForm, InferRequest } from './inferPage.ts';
import { JsonText, type JsonValue, parseJsonBytes } from './jsonBytes.ts';
import { codingFault } from './jsonType.ts';
import { checkShape, float64Array, invalidRequest, NdArray, type WireValue } from './ndarray.ts';
import type { PolicyService } from './policyService.ts';
import { wireFields } from './wireFields.ts';

export const modelName = 'semanticvla';
export const modelVersion = '1';

/** By the protocol's name of a type: NumPy's. */
const dtypes: Readonly<Record<string, string>> = {
  BOOL: '|b1',
  UINT8: '|u1',
  INT8: '|i1',
  UINT16: '<u2',
  INT16: '<i2',
  UINT32: '<u4',
  INT32: '<i4',
  UINT64: '<u8',
  INT64: '<i8',
  FP32: '<f4',
  FP64: '<f8',
};

/** Bytes of the JSON before the tensors. */
const headHeader = 'inference-header-content-length';

type JsonMap = ReadonlyMap<string, JsonValue>;

/** A tensor as it came. */
interface RawTensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  /** Its bytes, or its numbers or texts in JSON. */
  readonly data: Buffer | JsonValue;
}

/** An error as the protocol has it: one text, here with the code in front. */
export function oipFailure(failure: Failure): HttpAnswer {
  const { code, message } = failure;
  return { ...failureAnswer(failure), text: JSON.stringify({ error: `${code}: ${message}` }) };
}

export function oipForm(service: PolicyService, counts: InferCounts): InferForm {
  return {
    protocol: 'oip',
    refusal: (headers) => {
      const message = codingFault(headers);
      return message === null ? null : oipFailure({ status: 415, code: 'REQUEST_INVALID', message });
    },
    read: (body, headers) => {
      const request = readRequest(body, headers);
      return {
        ...request,
        answer: (chunk, inferMs) => {
          counts.answered(inferMs);
          return request.answer(chunk);
        },
      };
    },
    failed: (error) => {
      counts.failed++;
      return oipFailure(service.failed('oip', error));
    },
  };
}

/** What `/stats` tells. */
export class InferCounts {
  count = 0;
  ms = 0;
  failed = 0;

  answered(inferMs: number): void {
    this.count++;
    this.ms += inferMs;
  }
}

/** @throws REQUEST_INVALID */
function readRequest(
  body: Buffer,
  { [headHeader]: stated }: IncomingHttpHeaders,
): Omit<InferRequest, 'answer'> & { answer(chunk: ActionChunk): HttpAnswer } {
  const headBytes = stated === undefined ? body.length : Number(stated);
  if (!Number.isInteger(headBytes) || headBytes < 0 || headBytes > body.length)
    throw invalidRequest(`${headHeader} of at most ${body.length} bytes`, String(stated).slice(0, 20));
  const head = parseJsonBytes(body.subarray(0, headBytes));
  if (!(head instanceof Map)) throw invalidRequest('a JSON object', 'something else');
  const fields = new Map<string, RawTensor>();
  let at = headBytes;
  for (const item of list(head.get('inputs'), 'inputs')) {
    const tensor = readTensor(item, body, at);
    if (fields.has(tensor.name))
      throw invalidRequest('each input once', `${JSON.stringify(tensor.name.slice(0, 40))} twice`);
    fields.set(tensor.name, tensor);
    if (Buffer.isBuffer(tensor.data)) at += tensor.data.length;
  }
  if (at !== body.length) throw invalidRequest(`${at} bytes, as head and inputs state`, `${body.length}`);
  const isBinary = wantsBinary(head);
  const id = head.get('id');
  return {
    fields: wireFields(fields, { inside: () => null, decode }),
    answer: (chunk) => answer(chunk, isBinary, id instanceof JsonText ? id.toString() : null),
  };
}

function list(value: JsonValue | undefined, name: string): readonly JsonValue[] {
  if (Array.isArray(value)) return value;
  throw invalidRequest(`\`${name}\` to be a list`, value === undefined ? 'none' : 'something else');
}

function text(map: JsonMap, name: string): string {
  const value = map.get(name);
  if (value instanceof JsonText) return value.toString(256);
  throw invalidRequest(`\`${name}\` of each tensor to be a text`, value === undefined ? 'none' : 'another');
}

function parametersOf(map: JsonMap): JsonMap {
  const value = map.get('parameters') ?? new Map<string, JsonValue>();
  if (!(value instanceof Map)) throw invalidRequest('`parameters` to be an object', 'something else');
  if (value.has('shared_memory_region'))
    throw invalidRequest('tensors in the request', 'shared memory, which this server does not read');
  return value;
}

function readTensor(item: JsonValue, body: Buffer, at: number): RawTensor {
  if (!(item instanceof Map)) throw invalidRequest('inputs to be objects', 'something else');
  const tensor = {
    name: text(item, 'name'),
    datatype: text(item, 'datatype'),
    shape: checkShape(item.get('shape')),
  };
  const bytes = parametersOf(item).get('binary_data_size');
  if (bytes === undefined)
    return { ...tensor, data: list(item.get('data'), `data of ${tensor.name}`) as JsonValue };
  const isInside =
    Number.isSafeInteger(bytes) && (bytes as number) >= 0 && at + (bytes as number) <= body.length;
  if (!isInside)
    throw invalidRequest(
      `binary_data_size of ${tensor.name} within the body`,
      `${body.length - at} bytes left`,
    );
  return { ...tensor, data: body.subarray(at, at + (bytes as number)) };
}

/** Whether `actions` are to be bytes rather than JSON. @throws REQUEST_INVALID for outputs that there are not */
function wantsBinary(head: JsonMap): boolean {
  let isBinary = parametersOf(head).get('binary_data_output') === true;
  for (const output of list(head.get('outputs') ?? [], 'outputs')) {
    const name = output instanceof Map ? text(output, 'name') : '';
    if (name !== 'actions') throw invalidRequest('the output actions', JSON.stringify(name.slice(0, 40)));
    const parameters = parametersOf(output as JsonMap);
    if (parameters.has('classification')) throw invalidRequest('actions as they are', 'classification');
    isBinary = (parameters.get('binary_data') ?? isBinary) === true;
  }
  return isBinary;
}

function decode({ name, datatype, shape, data }: RawTensor): WireValue {
  if (datatype === 'BYTES') return decodeText(name, shape, data);
  const dtype = Object.hasOwn(dtypes, datatype) ? dtypes[datatype] : undefined;
  if (dtype === undefined) {
    const known = `${Object.keys(dtypes).join(' ')} or BYTES`;
    throw invalidRequest(`datatype of ${name} to be ${known}`, JSON.stringify(datatype.slice(0, 20)));
  }
  if (Buffer.isBuffer(data)) return new NdArray(dtype, shape, data);
  const numbers = Float64Array.from(flat(data), (value) => {
    if (typeof value === 'number') return value;
    throw invalidRequest(`data of ${name} to be numbers`, 'something else');
  });
  if (datatype !== 'UINT8') return float64Array(numbers, shape);
  if (numbers.some((value) => !(Number.isInteger(value) && value >= 0 && value <= 255)))
    throw invalidRequest(`data of ${name} to be whole numbers from 0 to 255`, 'others');
  return new NdArray('|u1', shape, Uint8Array.from(numbers));
}

/** Flat, as clients send it, or nested, as the protocol also allows. */
function flat(data: JsonValue): JsonValue[] {
  return (data as unknown[]).flat(Number.POSITIVE_INFINITY) as JsonValue[];
}

/** One text; as bytes its length, a little-endian uint32, is in front. */
function decodeText(name: string, shape: readonly number[], data: Buffer | JsonValue): string {
  const count = shape.reduce((product, n) => product * n, 1);
  const texts = Buffer.isBuffer(data) ? null : flat(data);
  if (count !== 1 || (texts !== null && texts.length !== 1))
    throw invalidRequest(`${name} to be one text`, `${texts?.length ?? count}`);
  if (texts !== null) {
    if (texts[0] instanceof JsonText) return texts[0].toString();
    throw invalidRequest(`${name} to be one text`, 'another value');
  }
  const bytes = data as Buffer;
  if (bytes.length < 4 || bytes.readUInt32LE(0) !== bytes.length - 4)
    throw invalidRequest(`${name} to be one text behind its length`, `${bytes.length} bytes`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(4));
  } catch {
    throw invalidRequest(`${name} in UTF-8`, 'other bytes');
  }
}

function answer({ actions, shape }: ActionChunk, isBinary: boolean, id: string | null): HttpAnswer {
  const output = { name: 'actions', datatype: 'FP64', shape };
  const head = { model_name: modelName, model_version: modelVersion, ...(id === null ? {} : { id }) };
  if (!isBinary)
    return { status: 200, text: JSON.stringify({ ...head, outputs: [{ ...output, data: [...actions] }] }) };
  const parameters = { binary_data_size: actions.byteLength };
  const json = Buffer.from(JSON.stringify({ ...head, outputs: [{ ...output, parameters }] }));
  const bytes = new Uint8Array(actions.buffer, actions.byteOffset, actions.byteLength);
  return {
    status: 200,
    type: 'application/octet-stream',
    headers: { [headHeader]: `${json.length}` },
    text: Buffer.concat([json, bytes]),
  };
}
