/**
 * The part of ONNX's protobuf schema that we write (field numbers from onnx.proto, IR version 10), for protobufjs' reflection. No
 * generated code, no second copy of the schema.
 */

import protobuf from 'protobufjs';

type FieldSpec = readonly [rule: '' | 'repeated', type: string, name: string, id: number];

function message(fields: readonly FieldSpec[], oneofs?: Record<string, { oneof: string[] }>): protobuf.IType {
  return {
    fields: Object.fromEntries(
      fields.map(([rule, type, name, id]) => [name, rule === '' ? { type, id } : { rule, type, id }]),
    ),
    ...(oneofs ? { oneofs } : {}),
  };
}

const root = protobuf.Root.fromJSON({
  nested: {
    onnx: {
      nested: {
        StringStringEntryProto: message([
          ['', 'string', 'key', 1],
          ['', 'string', 'value', 2],
        ]),
        TensorProto: message([
          ['repeated', 'int64', 'dims', 1],
          ['', 'int32', 'dataType', 2],
          ['', 'string', 'name', 8],
          ['', 'bytes', 'rawData', 9],
          ['', 'string', 'docString', 12],
          ['repeated', 'StringStringEntryProto', 'externalData', 13],
          ['', 'int32', 'dataLocation', 14],
        ]),
        AttributeProto: message([
          ['', 'string', 'name', 1],
          ['', 'float', 'f', 2],
          ['', 'int64', 'i', 3],
          ['', 'bytes', 's', 4],
          ['', 'TensorProto', 't', 5],
          ['repeated', 'float', 'floats', 7],
          ['repeated', 'int64', 'ints', 8],
          ['', 'int32', 'type', 20],
          ['', 'string', 'refAttrName', 21],
        ]),
        NodeProto: message([
          ['repeated', 'string', 'input', 1],
          ['repeated', 'string', 'output', 2],
          ['', 'string', 'name', 3],
          ['', 'string', 'opType', 4],
          ['repeated', 'AttributeProto', 'attribute', 5],
          ['', 'string', 'docString', 6],
          ['', 'string', 'domain', 7],
        ]),
        Dimension: message(
          [
            ['', 'int64', 'dimValue', 1],
            ['', 'string', 'dimParam', 2],
          ],
          { value: { oneof: ['dimValue', 'dimParam'] } },
        ),
        TensorShapeProto: message([['repeated', 'Dimension', 'dim', 1]]),
        TensorType: message([
          ['', 'int32', 'elemType', 1],
          ['', 'TensorShapeProto', 'shape', 2],
        ]),
        TypeProto: message([['', 'TensorType', 'tensorType', 1]]),
        ValueInfoProto: message([
          ['', 'string', 'name', 1],
          ['', 'TypeProto', 'type', 2],
          ['', 'string', 'docString', 3],
        ]),
        GraphProto: message([
          ['repeated', 'NodeProto', 'node', 1],
          ['', 'string', 'name', 2],
          ['repeated', 'TensorProto', 'initializer', 5],
          ['', 'string', 'docString', 10],
          ['repeated', 'ValueInfoProto', 'input', 11],
          ['repeated', 'ValueInfoProto', 'output', 12],
        ]),
        OperatorSetIdProto: message([
          ['', 'string', 'domain', 1],
          ['', 'int64', 'version', 2],
        ]),
        FunctionProto: message([
          ['', 'string', 'name', 1],
          ['repeated', 'string', 'input', 4],
          ['repeated', 'string', 'output', 5],
          ['repeated', 'string', 'attribute', 6],
          ['repeated', 'NodeProto', 'node', 7],
          ['', 'string', 'docString', 8],
          ['repeated', 'OperatorSetIdProto', 'opsetImport', 9],
          ['', 'string', 'domain', 10],
        ]),
        ModelProto: message([
          ['', 'int64', 'irVersion', 1],
          ['', 'string', 'producerName', 2],
          ['', 'string', 'producerVersion', 3],
          ['', 'string', 'docString', 6],
          ['', 'GraphProto', 'graph', 7],
          ['repeated', 'OperatorSetIdProto', 'opsetImport', 8],
          ['repeated', 'StringStringEntryProto', 'metadataProps', 14],
          ['repeated', 'FunctionProto', 'functions', 25],
        ]),
      },
    },
  },
});

export const modelProto: protobuf.Type = root.lookupType('onnx.ModelProto');
