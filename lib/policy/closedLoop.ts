/**
 * Closed loops in a simulator, of one policy in float32 and in another precision: outcomes paired scene by scene, and their limit.
 * Reads the files of training/libero/evaluateSuite.py, training/evaluate.py and bench/simulation/closedLoop.ts.
 */

import { SemanticVlaError } from '../support/errors.ts';
import { brief, readText } from '../support/fileAccess.ts';
import { wilson } from '../support/wilson.ts';

/** Successes in the scenes that both precisions were driven in. Shares are of `pairs`. */
export interface ClosedLoopFigures {
  /** Kind of scenes, as the files say it: `libero_object named`. */
  readonly scenes: string;
  /** Names of the policies, as the files say them: float32's, and the other's. */
  readonly policies: readonly [string, string];
  readonly pairs: number;
  readonly float32: number;
  readonly rounded: number;
  /** Wilson's 95 % intervals of the two shares. */
  readonly float32Interval: readonly [number, number];
  readonly roundedInterval: readonly [number, number];
  /** Scenes in which float32 alone succeeded, and the other alone. */
  readonly onlyFloat32: number;
  readonly onlyRounded: number;
  /** McNemar's exact test, two-sided: how likely at least so uneven a split is where precision changes nothing. */
  readonly chance: number;
}

/** Fewer pairs have an interval that passes anything; outside these shares of float32 nothing could be lost, or won. */
export const closedLoopLimits = { pairs: 40, leastShare: 0.1, mostShare: 0.9 } as const;

interface Outcome {
  readonly scene: string;
  readonly kind: string;
  readonly policy: string;
  readonly success: boolean;
}

/**
 * Pairs two results of one simulator by scene, and counts.
 *
 * @param files of float32, and of the other precision; scenes that one file lacks are left out
 * @throws (rejects) RESULTS_INVALID other files, a scene twice, fewer than 40 scenes in both, or a family in which float32
 *   nearly always succeeds or fails
 */
export async function readClosedLoop(files: readonly [string, string]): Promise<ClosedLoopFigures> {
  const [first, second] = [await readOutcomes(files[0]), await readOutcomes(files[1])];
  const pairs = [...first].flatMap(([scene, exact]) => {
    const rounded = second.get(scene);
    return rounded === undefined ? [] : [{ exact, rounded }];
  });
  const refuse = (expected: string, found: string) =>
    new SemanticVlaError(
      'RESULTS_INVALID',
      `${files[0]} and ${files[1]}: expected ${expected}, found ${found}.`,
    );
  const { leastShare, mostShare } = closedLoopLimits;
  if (pairs.length < closedLoopLimits.pairs) {
    throw refuse(
      `at least ${closedLoopLimits.pairs} scenes that both were driven in with the same settings`,
      `${pairs.length} (${first.size} and ${second.size} scenes). Drive more, from the same first seed`,
    );
  }
  const count = (is: (pair: { exact: Outcome; rounded: Outcome }) => boolean) => pairs.filter(is).length;
  const float32 = count(({ exact }) => exact.success);
  const rounded = count((pair) => pair.rounded.success);
  const share = float32 / pairs.length;
  if (share < leastShare || share > mostShare) {
    throw refuse(
      `scenes in which float32 succeeds in ${100 * leastShare} to ${100 * mostShare} % of the episodes`,
      `${float32} of ${pairs.length}: whether another precision loses any cannot be seen there. Take a harder, or an easier, family`,
    );
  }
  const onlyFloat32 = count((pair) => pair.exact.success && !pair.rounded.success);
  const onlyRounded = count((pair) => !pair.exact.success && pair.rounded.success);
  const listed = (names: readonly string[]): string => [...new Set(names)].join(', ');
  return {
    scenes: listed(pairs.map(({ exact }) => exact.kind)),
    policies: [
      listed(pairs.map(({ exact }) => exact.policy)),
      listed(pairs.map((pair) => pair.rounded.policy)),
    ],
    pairs: pairs.length,
    float32,
    rounded,
    float32Interval: wilson(float32, pairs.length),
    roundedInterval: wilson(rounded, pairs.length),
    onlyFloat32,
    onlyRounded,
    chance: mcNemar(onlyFloat32, onlyRounded),
  };
}

/** Success must not be below float32's interval. */
export function closedLoopFailures({
  scenes,
  pairs,
  float32,
  rounded,
  float32Interval: [low],
}: ClosedLoopFigures): string[] {
  if (rounded / pairs >= low) return [];
  return [
    `closed loop (${scenes}): ${rounded} of ${pairs}, at least ${Math.ceil(low * pairs)} expected (float32: ${float32})`,
  ];
}

/** Twice the binomial tail of the smaller of the two counts, at most 1. */
export function mcNemar(a: number, b: number): number {
  const n = a + b;
  let [log, sum] = [-n * Math.LN2, 0];
  for (let i = 0; i <= Math.min(a, b); i++) {
    sum += Math.exp(log);
    log += Math.log((n - i) / (i + 1));
  }
  return Math.min(1, 2 * sum);
}

/** In bytes: a million episodes. */
const cap = 2 ** 29;

type Line = Readonly<Record<string, unknown>>;

async function readOutcomes(file: string): Promise<Map<string, Outcome>> {
  const text = await readText(file, { missing: 'RESULTS_INVALID', cap });
  // a line without its end is one that is being written, or was cut off
  const lines = text.split('\n').slice(0, -1);
  const outcomes = new Map<string, Outcome>();
  let head: Line | null = null;
  for (const [i, content] of lines.entries()) {
    const where = `${file}, line ${i + 1}`;
    const line = parsed(content, where);
    if (i === 0 && 'family' in line && !('seed' in line)) {
      head = line;
      continue;
    }
    const outcome = outcomeOf(line, head);
    if (outcome === undefined) throw unknownLine(where, content);
    if (outcome === null) continue;
    if (outcomes.has(outcome.scene)) {
      throw new SemanticVlaError(
        'RESULTS_INVALID',
        `${where}: expected each scene once, found ${outcome.scene} again. Keep each precision in a file of its own.`,
      );
    }
    outcomes.set(outcome.scene, outcome);
  }
  return outcomes;
}

/** null: nothing was driven; undefined: no line of these files. */
function outcomeOf(line: Line, head: Line | null): Outcome | null | undefined {
  const { episode, seed } = line;
  if (typeof episode === 'object' && episode !== null) {
    if ('skipped' in line) return null;
    if (typeof line.success !== 'boolean') return undefined;
    const { policy, ...scene } = episode as Line;
    return outcome(scene, `${scene.suite} ${scene.scenes}`, policy, line.success);
  }
  if (typeof seed !== 'number') return undefined;
  if (head !== null) {
    // a scene that no sentence of the family fits
    if (!('named' in line)) return null;
    const { task, family, control, templates, replan, split, program, twin, url } = head;
    const scene = { task, family, control, templates, replan, split, seed };
    return outcome(scene, `${task} ${family}`, program ?? twin ?? url, line.done === line.named);
  }
  if (!('lifted' in line)) return undefined;
  const { mode, latency, family } = line;
  return outcome({ mode, latency, family, seed }, `pick ${family}`, line.policy, line.lifted === line.named);
}

function outcome(scene: Line, kind: string, policy: unknown, success: boolean): Outcome {
  const sorted = Object.entries(scene).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return { scene: JSON.stringify(Object.fromEntries(sorted)), kind, policy: String(policy), success };
}

function parsed(text: string, where: string): Line {
  try {
    const line = JSON.parse(text) as unknown;
    if (typeof line === 'object' && line !== null) return line as Line;
  } catch {
    // said below
  }
  throw unknownLine(where, text);
}

const unknownLine = (where: string, text: string): SemanticVlaError =>
  new SemanticVlaError(
    'RESULTS_INVALID',
    `${where}: expected an episode as evaluateSuite.py, evaluate.py or closedLoop.ts write it, found ${brief(text)}.`,
  );
