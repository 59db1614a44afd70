/** The same policy behind Node's own channel (`child_process` with `serialization: 'advanced'`): the baseline. */

import { createPolicy } from './nullEngine.ts';

const policy = createPolicy();
process.on('message', ({ observation, instruction }) => {
  void policy.predict(observation, { instruction }).then((chunk) => process.send?.(chunk));
});
process.send?.('ready');
