/** A machine whose fixed facts are read once: what sensors there are and what they are called does not change in a run. */

import type { MachineProbe } from '../../support/machineProbe.ts';

/** Names, labels, kinds and resistors; `online` and `enable`, since a core is not switched in the middle of a measurement. */
const fixed = /\/(name|label|type|online|in\d_label|in\d_enable|shunt\d_resistor|update_interval)$/;

/**
 * Reads what changes each time, everything else once. A folder that is gone keeps its names: its values are then null,
 * and a series has a gap instead of a sensor less.
 */
export function rememberingProbe(probe: MachineProbe): MachineProbe {
  const texts = new Map<string, string | null>();
  const lists = new Map<string, readonly string[]>();
  return {
    readText: (path) => {
      if (!fixed.test(path)) return probe.readText(path);
      if (!texts.has(path)) texts.set(path, probe.readText(path));
      return texts.get(path)!;
    },
    list: (path) => {
      if (!lists.has(path)) lists.set(path, probe.list(path));
      return lists.get(path)!;
    },
    run: (command, args) => probe.run(command, args),
  };
}
