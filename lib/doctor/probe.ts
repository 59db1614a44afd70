/** How `doctor` looks at a machine; replaced in tests to show it other machines. */

import { realpathSync } from 'node:fs';
import { type MachineProbe, machineProbe } from '../support/machineProbe.ts';
import { type TensorRtState, tensorRtState } from './tensorRt.ts';

export interface Probe extends MachineProbe {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where a link leads; the path itself when it is none or leads nowhere. */
  resolve(path: string): string;
  /** What the search for a TensorRT library ends with; it opens libraries. */
  tensorRt(): TensorRtState;
}

export const doctorProbe: Probe = {
  ...machineProbe,
  env: process.env,
  resolve(path) {
    try {
      return realpathSync(path);
    } catch {
      return path;
    }
  },
  tensorRt: tensorRtState,
};
