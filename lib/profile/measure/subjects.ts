/** Loads the policies to be measured, with everything that a chunk needs. */

import { statisticsProblem } from '../../checkpoint/agreement.ts';
import type { Checkpoint, OpenCheckpointOptions, Progress } from '../../checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../checkpoint/openCheckpoint.ts';
import { loadPolicy } from '../../policy/loadPolicy.ts';
import { resolvePlatform } from '../../policy/platform.ts';
import { checkpointOptions, gatherParts, type PolicyParts } from '../../policy/policyParts.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import { present } from '../../support/options.ts';
import { presetFolder } from '../../synth/presetFolder.ts';
import { type SynthPreset, synthPresets } from '../../synth/presets.ts';
import { type FrameSize, observationFor } from '../../synth/randomObservation.ts';
import { othersLike, sentenceOf } from '../../synth/sentences.ts';
import { encodePrompt } from '../../transforms/prompt.ts';
import type { Observation, Platform, Policy, PolicyOptions } from '../../types.ts';
import type { StageTimes, SubjectFacts } from '../types.ts';
import type { BenchSubject } from './benchSubject.ts';
import type { Runner } from './runner.ts';
import { subjectFacts, subjectNames } from './subjectFacts.ts';

export interface LoadOptions {
  /** The default instruction. */
  readonly instruction: string;
  readonly frame: FrameSize;
  /** Used instead of random frames, for subjects whose cameras it has. */
  readonly observation?: Observation;
  readonly cacheDir?: string;
  /** Called while it lasts; must return quickly. */
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** A subject that is loaded and has computed its first chunk. */
export interface LoadedSubject {
  readonly facts: SubjectFacts;
  readonly cold: { readonly loadMs: number; readonly instructionMs: number; readonly firstChunkMs: number };
  readonly runner: Runner;
  readonly policy: Policy;
}

/** One policy in memory, shared by subjects that differ only in the instruction. */
interface Loaded {
  readonly policy: Policy;
  readonly parts: PolicyParts;
  readonly loadMs: number;
  readonly unnormKey: string;
}

/** Sentences that take turns as the new one: more than are kept encoded (see `load`), so that each is new when its turn comes. */
const otherSentences = (subjects: number): number => subjects + 3;

/**
 * Loads all subjects, one after the other, and runs each once.
 * @param policies each loaded policy is added at once, so that the caller can close it whatever happens
 */
export async function loadSubjects(
  subjects: readonly BenchSubject[],
  options: LoadOptions,
  policies: Policy[],
): Promise<readonly LoadedSubject[]> {
  if (subjects.length === 0) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      'Expected a checkpoint folder or a preset to measure, found neither.',
    );
  }
  const loaded = new Map<string, Promise<Loaded>>();
  const results: LoadedSubject[] = [];
  const names = subjectNames(subjects);
  for (const [i, subject] of subjects.entries()) {
    options.signal?.throwIfAborted();
    const { checkpoint, preset, options: own, cameraCount, version } = subject;
    const key = JSON.stringify([checkpoint, preset, own, cameraCount, version]);
    if (!loaded.has(key)) loaded.set(key, load(subject, options, subjects.length, policies));
    const one = await loaded.get(key)!;
    results.push(await firstChunk(subject, names[i]!, one, options, otherSentences(subjects.length)));
  }
  return results;
}

async function load(
  subject: BenchSubject,
  options: LoadOptions,
  subjects: number,
  policies: Policy[],
): Promise<Loaded> {
  const { onProgress, signal, cacheDir } = options;
  const { checkpoint: given, preset } = subject;
  if ((given === undefined) === (preset === undefined)) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `Bench: expected a checkpoint folder or a preset for each subject, found ${given === undefined ? 'neither' : 'both'}.`,
    );
  }
  const dir = given ?? (await presetFolder(preset!, options));
  const shared = present({ cacheDir, onProgress, signal });
  // what the preset says and a random checkpoint does not
  const platform = preset && presetOptions(preset);
  const policyOptions: PolicyOptions = { ...platform, ...subject.options };
  const cameras = await camerasOf(subject, dir, { ...policyOptions, ...shared });
  const all: PolicyOptions = { ...policyOptions, ...shared, ...(cameras === null ? {} : { cameras }) };
  const start = performance.now();
  // every subject's own sentence stays encoded during the turns of the others; the new sentences, being more, do not
  const policy = await (subject.load ?? loadPolicy)(dir, { ...all, instructionCache: subjects + 1 });
  const loadMs = performance.now() - start;
  policies.push(policy);
  // opened only after loading, since it would have warmed what the cold start measures
  const checkpoint = await openCheckpoint(dir, quietly(all));
  const unnormKey = all.unnormKey ?? firstKey(checkpoint, resolvePlatform(checkpoint, all));
  const parts = await gatherParts(checkpoint, { ...all, unnormKey });
  return { policy, parts, loadMs, unnormKey };
}

/** What a preset's files do not say. A token head must be stated; any steps take as long as trained ones. */
function presetOptions(preset: SynthPreset): PolicyOptions {
  const { platform, head } = synthPresets[preset];
  const { name, cameras } = platform;
  if (head === 'l1' || head === 'diffusion') return { platform: name };
  return { platform: name, head, cameras };
}

/** Its notices were already given when the policy was loaded. */
function quietly(options: PolicyOptions): OpenCheckpointOptions {
  return { ...checkpointOptions(options), onNotice: () => {} };
}

async function camerasOf(
  { cameraCount }: BenchSubject,
  dir: string,
  options: PolicyOptions,
): Promise<readonly string[] | null> {
  if (cameraCount === undefined) return null;
  const checkpoint = await openCheckpoint(dir, quietly(options));
  const { cameras } = resolvePlatform(checkpoint, options);
  return Array.from({ length: cameraCount }, (_, i) => cameras[i] ?? `camera_${i}`);
}

/** The dataset used for un-normalization does not affect the time, and the actions are discarded. */
export function firstKey(checkpoint: Checkpoint, platform: Platform): string {
  const keys = [...checkpoint.statistics.keys()].toSorted();
  return keys.find((key) => statisticsProblem(checkpoint, key, platform) === null) ?? keys[0]!;
}

async function firstChunk(
  subject: BenchSubject,
  name: string,
  { policy, parts, loadMs, unnormKey }: Loaded,
  options: LoadOptions,
  otherCount: number,
): Promise<LoadedSubject> {
  const promptTokens = (sentence: string): number =>
    encodePrompt(parts.tokenizers, sentence, parts.promptLimits, parts.promptStyle).promptIds.length;
  if (subject.promptTokens !== undefined && subject.promptTokens > parts.promptLimits.promptTokens) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Prompt length ${subject.promptTokens}: expected at most ${parts.promptLimits.promptTokens} tokens, which fit beside images and actions.`,
    );
  }
  const instruction =
    subject.promptTokens === undefined
      ? (subject.instruction ?? options.instruction)
      : sentenceOf(subject.promptTokens, promptTokens);
  const observation = options.observation ?? observationFor(parts, unnormKey, options.frame);
  const predict = async (sentence: string, signal: AbortSignal | undefined): Promise<StageTimes> => {
    const given = { instruction: sentence, unnormKey, ...present({ signal }) };
    return (await policy.predict(observation, given)).timings;
  };
  const start = performance.now();
  const stages = await predict(instruction, options.signal);
  const firstChunkMs = performance.now() - start;
  const others = othersLike(instruction, otherCount, promptTokens);
  let turn = 0;
  const { width, height } = Object.values(observation.images)[0]!;
  const told = { name, instruction, promptTokens: promptTokens(instruction), frame: { width, height } };
  const facts = subjectFacts(subject, parts, policy, told);
  return {
    facts,
    cold: { loadMs, instructionMs: stages.instruction ?? 0, firstChunkMs },
    policy,
    runner: {
      name: facts.name,
      chunk: (signal) => predict(instruction, signal),
      ...(others.length < otherCount
        ? {}
        : { newInstruction: (signal) => predict(others[turn++ % others.length]!, signal) }),
    },
  };
}
