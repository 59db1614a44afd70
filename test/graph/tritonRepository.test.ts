/** `export --triton`: the repository against the engines' own inputs and outputs, and against Triton's schema. */

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { type PreparedModel, prepareModels } from '../../lib/engine/engineModels.ts';
import { type TritonReport, writeTritonRepository } from '../../lib/export/tritonRepository.ts';
import type { ValueInfo } from '../../lib/graph/onnxModel.ts';
import { resolvePlatform } from '../../lib/policy/platform.ts';
import { policySizes } from '../../lib/policy/policyParts.ts';
import { errorOf } from '../checkpoint/editCheckpoint.ts';
import { cli } from '../helpers/cli.ts';
import { goldenCheckpoint, scratchFolder } from '../helpers/golden.ts';
import { pythonVenv } from '../helpers/pythonVenv.ts';
import { testWhen } from '../helpers/skip.ts';

const test = suite("Triton's model repository");

interface Written {
  readonly report: TritonReport;
  readonly models: Readonly<Record<'instruction' | 'policy', PreparedModel>>;
}

async function write(name: 'libero-tiny' | 'aloha-tiny', out: string): Promise<Written> {
  const checkpoint = await openCheckpoint(goldenCheckpoint(name), { onNotice: () => {} });
  const platform = name === 'aloha-tiny' ? ('aloha' as const) : ('libero' as const);
  const sizes = policySizes(checkpoint, resolvePlatform(checkpoint, { platform }));
  const { instruction, policy } = prepareModels(checkpoint, {
    sizes,
    precision: 'float16',
    weights: 'baked',
    promptLength: { min: 8, opt: 32, max: 128 },
  });
  mkdirSync(`${out}.plans`, { recursive: true });
  const library = join(`${out}.plans`, 'semanticvla_trt10.so');
  writeFileSync(library, 'plugins');
  const plans = await Promise.all(
    ['instruction', 'policy'].map(async (one) => {
      const file = join(`${out}.plans`, one);
      writeFileSync(file, `plan of ${one}`);
      return open(file);
    }),
  );
  const engine = ({ graph }: PreparedModel, i: number) => ({
    graph,
    plan: { descriptor: plans[i]!.fd, byteLength: 100 },
  });
  try {
    const source = { instruction: engine(instruction, 0), policy: engine(policy, 1), library };
    return { report: await writeTritonRepository(source, out), models: { instruction, policy } };
  } finally {
    for (const plan of plans) await plan.close();
  }
}

const dataTypes: Readonly<Record<string, string>> = {
  TYPE_FP32: 'float32',
  TYPE_FP16: 'float16',
  TYPE_BF16: 'bfloat16',
  TYPE_UINT8: 'uint8',
  TYPE_INT64: 'int64',
  TYPE_BOOL: 'bool',
};

type Tensor = readonly [name: string, type: string, dims: readonly number[]];

/** Tensors of a configuration as it was written: one a line. */
function tensorsOf(text: string, field: 'input' | 'output'): Tensor[] {
  const line = new RegExp(
    `^${field} \\[ \\{ name: "([^"]+)" data_type: (\\w+) dims: \\[ ([-\\d, ]+) \\] \\} \\]$`,
    'gm',
  );
  return [...text.matchAll(line)].map(([, name, type, dims]) => [
    name!,
    dataTypes[type!]!,
    dims!.split(', ').map(Number),
  ]);
}

const tensorOf = ({ name, type, shape }: ValueInfo): Tensor => [
  name,
  type,
  shape.map((n) => (typeof n === 'number' ? n : -1)),
];

test('each engine is a model with its own tensors, and one ensemble passes them on', async () => {
  for (const name of ['libero-tiny', 'aloha-tiny'] as const) {
    const out = join(scratchFolder(), 'repository');
    const { report, models } = await write(name, out);
    assert.equal(readdirSync(out).sort(), ['instruction', 'policy', 'semanticvla']);
    const given = new Map<string, Tensor>();
    const text = (model: string): string => readFileSync(join(out, model, 'config.pbtxt'), 'utf8');
    for (const model of ['instruction', 'policy'] as const) {
      const { inputs, outputs } = models[model].graph;
      assert.equal(tensorsOf(text(model), 'input'), inputs.map(tensorOf));
      assert.equal(tensorsOf(text(model), 'output'), outputs.map(tensorOf));
      assert.is(readFileSync(join(out, model, '1/model.plan'), 'utf8'), `plan of ${model}`);
      for (const tensor of [...inputs, ...outputs].map(tensorOf)) {
        // one name is one tensor in both engines
        assert.equal(given.get(tensor[0]) ?? tensor, tensor);
        given.set(tensor[0], tensor);
      }
    }
    const ensemble = text('semanticvla');
    const between = models.instruction.graph.outputs.map(({ name: one }) => one);
    const expected = [...models.instruction.graph.inputs, ...models.policy.graph.inputs]
      .filter(({ name: one }) => !between.includes(one))
      .map(tensorOf);
    assert.equal(tensorsOf(ensemble, 'input'), expected);
    assert.equal(tensorsOf(ensemble, 'output'), models.policy.graph.outputs.map(tensorOf));
    assert.is(readFileSync(join(out, 'policy/semanticvla_trt10.so'), 'utf8'), 'plugins');
    assert.is(
      report.command,
      `SEMANTICVLA_REGISTER_PLUGINS=1 tritonserver --model-repository=${out} --backend-config=tensorrt,plugins=${out}/policy/semanticvla_trt10.so`,
    );
  }
});

test('what cannot be written, and flags that do not fit', async () => {
  const out = join(scratchFolder(), 'closed');
  writeFileSync(out, 'a file');
  chmodSync(out, 0o400);
  assert.is((await errorOf(write('libero-tiny', out))).code, 'OUTPUT_UNWRITABLE');
  for (const flags of [
    ['--triton', out, '--out', out],
    ['--precision', 'float16'],
  ])
    assert.is(cli('export', goldenCheckpoint('libero-tiny'), '--platform', 'libero', ...flags).code, 2);
});

const python = pythonVenv(
  'triton-venv',
  join(import.meta.dirname, 'triton.txt'),
  'from tritonclient.grpc import model_config_pb2',
);

const parse = `
import json, sys
from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
print(json.dumps([json_format.MessageToDict(text_format.Parse(open(f).read(), ModelConfig())) for f in sys.argv[1:]]))
`;

interface Config {
  readonly name: string;
  readonly input: readonly { name: string; dataType: string; dims: readonly string[] }[];
  readonly ensembleScheduling?: {
    readonly step: readonly {
      readonly modelName: string;
      readonly inputMap: Readonly<Record<string, string>>;
      readonly outputMap: Readonly<Record<string, string>>;
    }[];
  };
}

testWhen(
  'python' in python,
  'missing' in python ? python.missing : '',
  test,
  "Triton's own schema reads the same",
  async () => {
    const out = join(scratchFolder(), 'parsed');
    const { models } = await write('libero-tiny', out);
    const files = ['instruction', 'policy', 'semanticvla'].map((one) => join(out, one, 'config.pbtxt'));
    const command = (python as { python: string }).python;
    const configs = JSON.parse(
      execFileSync(command, ['-c', parse, ...files], { encoding: 'utf8' }),
    ) as Config[];
    for (const { name, input } of configs.slice(0, 2)) {
      assert.equal(
        input.map((one) => [one.name, dataTypes[one.dataType], one.dims.map(Number)]),
        models[name as 'policy'].graph.inputs.map(tensorOf),
      );
    }
    const steps = configs[2]!.ensembleScheduling!.step;
    assert.equal(
      steps.map(({ modelName }) => modelName),
      ['instruction', 'policy'],
    );
    const known = new Set(configs[2]!.input.map(({ name }) => name));
    for (const { inputMap, outputMap } of steps) {
      for (const tensor of Object.values(inputMap)) assert.ok(known.has(tensor), tensor);
      for (const tensor of Object.values(outputMap)) known.add(tensor);
    }
  },
);

test.run();
