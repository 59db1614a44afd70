/** A machine whose fixed facts are read only once: which sensors exist and their names do not change during a run. */

import type { MachineProbe } from '../../support/machineProbe.ts';

/** Names, labels, kinds and resistors; also `online` and `enable`, since cores are not switched during a measurement. */
const fixed = /\/(name|label|type|online|in\d_label|in\d_enable|shunt\d_resistor|update_interval)$/;

/**
 * Reads changing values each time, everything else once. A folder that disappears keeps its names: its values are then null,
 * so that a series has a gap rather than one sensor fewer.
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
