/** A flag means the same in every command, errors speak of flags, and --json is one JSON value whatever happens. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command, Option } from 'commander';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { inFlags } from '../../lib/cli/flagNames.ts';
import { type PolicyFlags, policyOptions } from '../../lib/cli/flags.ts';
import { buildProgram } from '../../lib/cli/main.ts';
import { rooflinePrecisionNames } from '../../lib/profile/roofline/roofline.ts';
import { root } from '../helpers/cli.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import { run } from '../helpers/mainInProcess.ts';

const test = suite('flags of all commands');
const { commands } = buildProgram(async () => {});
const optionsOf = (command: Command): Option[] => command.options.filter(({ hidden }) => !hidden);

/** What a flag means: its description without the default and what else differs by command. */
const meaningOf = ({ flags, long, description }: Option): string =>
  `${flags.replace(long!, '').trim()} ${description.split(/; (?:default|several|needed)/)[0]}`;

/** By what it writes or reads, one thing a command. */
const byCommand: Readonly<Record<string, string>> = {
  '--out': 'what the command makes: a folder, a page, a file',
  '--csv': 'a line each of what the command measures: chunks, layers',
  '--html': 'the page of the command',
  '--camera': 'CAMERA=KEY: of a request, of a recording',
  '--state-key': 'a key of a request, names of a recording',
  '--precision': 'the precisions that the command knows',
  '--weights': 'build: those of engines',
  '--iterations': 'bench: at least',
  '--prompt-length': 'build: also a range',
};

test('a flag has one meaning, one unit and one form of its value', () => {
  const meanings = new Map<string, Map<string, string[]>>();
  for (const command of commands)
    for (const option of optionsOf(command)) {
      const long = option.long!;
      const of = meanings.get(long) ?? new Map<string, string[]>();
      meanings.set(long, of);
      const meaning = meaningOf(option);
      of.set(meaning, [...(of.get(meaning) ?? []), command.name()]);
    }
  for (const [long, of] of meanings) {
    if (Object.hasOwn(byCommand, long)) assert.ok(of.size > 1, `${long} is no exception any more`);
    else assert.is(of.size, 1, `${long}: ${JSON.stringify(Object.fromEntries(of))}`);
  }
  for (const name of ['--device', '--warm-up', '--json', '--cameras', '--cache', '--threads', '--frame-size'])
    assert.ok([...(meanings.get(name)?.values() ?? [])].flat().length > 1, name);
  // whoever takes TensorRT takes its GPU too
  for (const command of commands) {
    const longs = optionsOf(command).map(({ long }) => long);
    assert.is(longs.includes('--device'), longs.includes('--tensorrt'), command.name());
    assert.ok(longs.includes('--json'), command.name());
  }
});

test('precisions have the same names everywhere', () => {
  const known = new Set<string>(rooflinePrecisionNames);
  for (const command of commands)
    for (const { long, argChoices = [] } of optionsOf(command))
      if (long === '--precision')
        for (const choice of argChoices) assert.ok(known.has(choice), `${command.name()} ${choice}`);
});

test('nvfp4 is refused with the reason wherever a policy is run in 8 bits', () => {
  const taking = commands.flatMap((command) =>
    optionsOf(command).filter(
      ({ long, argChoices = [] }) => long === '--precision' && argChoices.includes('fp8'),
    ),
  );
  const own = taking.filter(({ argChoices = [] }) => !argChoices.includes('nvfp4'));
  assert.is(taking.length - own.length, 1, 'roofline calculates it');
  assert.ok(own.length >= 8, `${own.length} commands`);
  for (const option of own)
    assert.throws(() => option.parseArg!('nvfp4', undefined), /There is no nvfp4: .*precision\.md#nvfp4/);
});

/** A value that commander takes for the option; undefined: none was found. */
function valueFor({ argChoices }: Option, parse: (value: string) => void): string | undefined {
  const values = [...(argChoices ?? []), '1', '12', '96', '640x480', 'a', 'a=b', 'sm_89', 'tiny', 'cpu'];
  return values.find((value) => {
    try {
      parse(value);
      return true;
    } catch {
      return false;
    }
  });
}

/** What each option of the API that a command passes on is called there, where policyOptions does not say so. */
const own: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  serve: {
    host: 'host',
    'act.port': 'act',
    'openpi.port': 'openpi',
    token: 'token-file',
    insecureNoAuth: 'insecure-no-auth',
    'keys.cameras': 'camera',
    'keys.state': 'state-key',
    'keys.instruction': 'instruction-key',
    instructions: 'instructions',
    frameSize: 'frame-size',
    keptLengths: 'kept-lengths',
    dir: 'flight-recorder',
    deadlineMs: 'deadline',
  },
  evaluate: {
    'keys.cameras': 'camera',
    'keys.state': 'state-key',
    'keys.action': 'action-key',
    turn: 'rotate',
    gripper: 'gripper',
    every: 'every',
    episodes: 'episodes',
    instruction: 'instruction',
  },
  bench: {
    preset: 'preset',
    promptTokens: 'prompt-length',
    cameraCount: 'camera-counts',
    frame: 'frame-size',
    percentiles: 'percentile',
    warmUpChunks: 'warm-up',
    rateHz: 'rate',
    iterations: 'iterations',
    durationMs: 'duration',
    limitMs: 'limit',
    turnMs: 'turn',
    sampleMs: 'sample',
    confidence: 'confidence',
    layers: 'layers',
    roofline: 'roofline',
  },
  profile: { iterations: 'iterations', warmUp: 'warm-up', preset: 'preset' },
  roofline: { devices: 'hardware', promptTokens: 'prompt-length', precision: 'precision', preset: 'preset' },
  build: {
    promptLength: 'prompt-length',
    optimizationLevel: 'optimization-level',
    timingCache: 'timing-cache',
    rebuild: 'rebuild',
  },
  export: { out: 'out', link: 'link' },
  synth: { seed: 'seed' },
  compare: { strict: 'strict' },
};

test('each option that a flag sets is told by that flag', () => {
  let translated = 0;
  for (const command of commands) {
    for (const option of optionsOf(command)) {
      const name = option.attributeName();
      const parsed = option.negate
        ? false
        : option.required || option.optional
          ? valueFor(option, (value) => option.parseArg?.(value, undefined as never))
          : true;
      assert.is.not(parsed, undefined, `${command.name()} ${option.long}`);
      const set = Object.keys(policyOptions({ [name]: parsed } as Partial<PolicyFlags>));
      for (const api of set) {
        const told = inFlags(`Expected X for ${api} but received y; pass the option ${api}.`, command);
        const flag =
          option.negate && option.long !== '--no-cuda-graphs' ? `--${option.long!.slice(5)}` : option.long;
        assert.is(told, `Expected X for ${flag} but received y; pass ${flag}.`, command.name());
        translated++;
      }
    }
    for (const [api, flag] of Object.entries(own[command.name()] ?? {})) {
      assert.is(inFlags(`Option ${api}: expected x.`, command), `--${flag}: expected x.`, command.name());
      translated++;
    }
  }
  assert.ok(translated > 200, `${translated}`);
});

/** Options of functions that no command calls, or that none of their flags sets. */
const apiOnly = 'policy name instructionCache signal space rule sampleMs imageSize limits.x'.split(' ');

test('an option that a message names is one that some command tells by its flag, or one of the API alone', () => {
  const named = new Map<string, string>();
  for (const file of readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file.startsWith('cli/')) continue;
    const source = readFileSync(join(root, 'lib', file), 'utf8').replace(
      /\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm,
      '',
    );
    for (const [, name] of source.matchAll(/['"`][^'"`\n]*?(?<!<)\b[Oo]ption ([a-z][\w.]*\w)(?![\w.]*\$)/g))
      named.set(name!, file);
  }
  assert.ok(named.size > 20, `${[...named.keys()]}`);
  for (const [name, file] of named) {
    if (apiOnly.includes(name)) continue;
    const told = commands.some((command) => inFlags(`option ${name},`, command).startsWith('--'));
    assert.ok(told, `${file}: option ${name} has no flag: add it to flagNames.ts, or to the list above`);
  }
});

test('lists, switches and what a caller would write are told in flags too', () => {
  const predict = commands.find((command) => command.name() === 'predict');
  for (const [said, told] of [
    [
      'needs the options cameras, proprio, centerCrop and chunk.',
      'needs --cameras, --proprio, --center-crop and --chunk.',
    ],
    ['needs the options cameras and window.', 'needs the options cameras and window.'],
    ['since option proprio is true, and', 'since --proprio was given, and'],
    ['and option centerCrop is false:', 'and --no-center-crop was given:'],
    ["Pass precision: 'int8'.", 'Pass --precision int8.'],
    ["Set backend: 'tensorrt', or", 'Set --backend tensorrt, or'],
    ["kind: 'other'", "kind: 'other'"],
  ] as const)
    assert.is(inFlags(said, predict), told);
});

test('values that only the API refuses: the message names the flag and no option of the API', async () => {
  const policy = goldenCheckpoint('libero-tiny');
  const obs = ['--observation', join(root, 'test/golden/libero-tiny/obs0')];
  const key = ['--unnorm-key', 'libero_spatial_no_noops', '--instruction', 'lift the cup'];
  const cases: readonly (readonly [args: readonly string[], told: RegExp])[] = [
    [['--threads', '100000'], /--threads: expected/],
    [['--spin', '99999999'], /--spin: expected/],
    [['--cameras', 'a,a'], /for --cameras but received/],
    [['--device', '3'], /--device: expected .*Set --backend tensorrt/],
    [['--no-cuda-graphs'], /--no-cuda-graphs: expected .*Set --backend tensorrt/],
    [['--tensorrt', 'x'], /--tensorrt: expected/],
    [['--weights', 'bound'], /--weights: expected folded or mapped/],
    [['--precision', 'float16'], /--precision: expected/],
    [['--siglip-text', 'nowhere'], /given as --siglip-text/],
    [
      ['--platform', 'custom'],
      /expected --cameras, found none.*needs --cameras, --proprio, --center-crop, --chunk/,
    ],
    [['--head', 'discrete'], /--head/],
  ];
  for (const [args, told] of cases) {
    const { code, err } = await run('predict', policy, ...obs, ...key, ...args);
    assert.is(code, 2, err);
    assert.match(err, told, err);
    assert.not.match(err, /\b[Oo]ptions? [a-z]|unnormKey|centerCrop|siglipText|cacheDir|tensorRt\b/);
  }
});

test('--json: one JSON value on standard output, also where a command fails', async () => {
  const checkpoint = 'no-such-folder';
  const needed: Readonly<Record<string, readonly string[]>> = {
    pull: ['no-name'],
    synth: ['tiny', '--out', join(root, 'test')],
    predict: [checkpoint, '--observation', checkpoint],
    stages: [checkpoint, '--observation', checkpoint, '--out', 'x'],
    view: [checkpoint, '--observation', checkpoint, '--out', 'x'],
    compare: ['a', 'b'],
    'compare-precision': [checkpoint, '--observations', checkpoint],
    evaluate: [checkpoint, '--data', checkpoint],
    report: [checkpoint, '--out', 'x'],
    demo: ['--threads', '0'],
    doctor: ['--backend', 'none'],
  };
  for (const command of commands) {
    const args = needed[command.name()] ?? [checkpoint];
    const { code, out, err } = await run(command.name(), ...args, '--json');
    assert.is(code, 2, `${command.name()}: ${err}`);
    const { error } = JSON.parse(out) as { error: { code: string; message: string } };
    assert.equal(Object.keys(error), ['code', 'message'], command.name());
    assert.ok(err.includes(`${error.code}: ${error.message}`), command.name());
  }
});

test.run();
