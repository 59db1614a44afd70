/** TensorRT for tests: found once per process, or the reason why it is not there. */

import { type FoundTensorRt, findParser, findTensorRt } from '../../lib/engine/findTensorRt.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';

type Finding = { readonly tensorRt: FoundTensorRt } | { readonly missing: string };

let finding: Finding | null = null;

/** TensorRT-RTX with its module: the one flavour that builds engines without a GPU. */
export function tensorRtRtx(): Finding {
  finding ??= look();
  return finding;
}

function look(): Finding {
  try {
    const tensorRt = findTensorRt({ family: 'rtx1' });
    findParser(tensorRt);
    return { tensorRt };
  } catch (error) {
    if (!(error instanceof SemanticVlaError)) throw error;
    const first = error.message.split('\n', 1)[0]!;
    return {
      missing: `${first} To run it: scripts/fetchTensorRtRtx.sh, scripts/fetchNvcc.sh, npm run build:native`,
    };
  }
}
