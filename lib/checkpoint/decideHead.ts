/**
 * Which head a folder's policy has. A config.json is the same for a policy of discrete tokens, an autoregressive OpenVLA and an
 * incomplete copy, so what the files do not tell must be given and is never assumed.
 */

import { SemanticVlaError } from '../support/errors.ts';
import type { PolicyFiles } from './findArchives.ts';
import type { HeadName } from './policyConfig.ts';
import type { Shapes } from './shapes.ts';

export interface HeadEvidence extends PolicyFiles {
  /** Absolute checkpoint folder. */
  readonly dir: string;
  readonly shapes: Shapes;
  /** The caller's choice; undefined: none. */
  readonly statedHead: HeadName | undefined;
}

const shown: Readonly<Record<HeadName, string>> = {
  l1: 'an action head of L1 regression',
  discrete: 'discrete tokens, decoded in parallel',
  diffusion: 'a diffusion head',
  autoregressive: 'an autoregressive OpenVLA',
};

/**
 * @throws HEAD_REQUIRED nothing decides it; OPTION_INVALID files and caller contradict each other; CHECKPOINT_FILE_MISSING an
 *   incomplete copy; CHECKPOINT_AMBIGUOUS files of two runs
 */
export function decideHead(evidence: HeadEvidence): HeadName {
  const { dir, actionHead, noisyActionProjector, statedHead, shapes } = evidence;
  if (actionHead === null) return withoutHeadFile(evidence);
  const isDiffusion = [...shapes.keys()].some((name) => name.startsWith('action_head.noise_predictor.'));
  const found = isDiffusion ? 'diffusion' : 'l1';
  if (statedHead !== undefined && statedHead !== found) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option head of ${dir}: expected ${found}, since ${actionHead} is ${shown[found]}, found ${statedHead}. Leave the option out, or move that file away if it belongs to another policy.`,
    );
  }
  if (isDiffusion && noisyActionProjector === null) {
    throw new SemanticVlaError(
      'CHECKPOINT_FILE_MISSING',
      `${dir}: expected one file noisy_action_projector--*.pt, since ${actionHead} is ${shown.diffusion}; found none. Copy it from the training run.`,
    );
  }
  if (!isDiffusion && noisyActionProjector !== null) {
    throw new SemanticVlaError(
      'CHECKPOINT_AMBIGUOUS',
      `${dir}: expected the files of one training run, found ${actionHead}, which is ${shown.l1}, and ${noisyActionProjector}, which belongs to a diffusion policy. Move away the one that is left over.`,
    );
  }
  return found;
}

function withoutHeadFile(evidence: HeadEvidence): 'discrete' | 'autoregressive' {
  const { dir, proprioProjector, noisyActionProjector, visionBackbone, statedHead } = evidence;
  const missing = `${dir}: expected one file action_head--*.pt`;
  // only policies with a head have a projector: nothing else reads what it makes
  const beside = noisyActionProjector ?? proprioProjector;
  if (beside !== null) {
    throw new SemanticVlaError(
      'CHECKPOINT_FILE_MISSING',
      `${missing}, since ${beside} is there, which only a policy with an action head has; found none. The copy is not complete: copy the head from the training run (${evidenceWay(statedHead, beside)}).`,
    );
  }
  switch (statedHead) {
    case 'discrete':
      return 'discrete';
    case 'autoregressive':
      if (visionBackbone !== null) {
        throw new SemanticVlaError(
          'OPTION_INVALID',
          `Option head of ${dir}: expected no vision_backbone--*.pt beside ${shown.autoregressive}, whose towers are in the shards, found ${visionBackbone}. Pass head discrete if the policy decodes its tokens in parallel, or move that file away if it belongs to another policy.`,
        );
      }
      return 'autoregressive';
    case 'l1':
    case 'diffusion':
      throw new SemanticVlaError(
        'CHECKPOINT_FILE_MISSING',
        `${missing}, since option head says ${shown[statedHead]}; found none. Copy it from the training run.`,
      );
    case undefined:
      throw new SemanticVlaError(
        'HEAD_REQUIRED',
        `${missing}, found none, and nothing in the folder says which of three policies it is. ` +
          'An incomplete copy: copy the head, and proprio_projector--*.pt where there was one, from the training run. ' +
          'OpenVLA-OFT with discrete tokens, decoded in parallel: pass head discrete, and the cameras it was trained with. ' +
          'OpenVLA, which makes one token after another (openvla-7b and what was fine-tuned from it without OFT): pass head autoregressive.',
      );
  }
}

function evidenceWay(stated: HeadName | undefined, beside: string): string {
  return stated === 'discrete' || stated === 'autoregressive'
    ? `or move ${beside} away, if the policy makes its actions of tokens indeed`
    : 'a policy of action tokens has neither';
}
