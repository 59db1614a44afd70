/** How busy parts of the machine are, percent. */

import { type MachineProbe, readNumber } from '../../support/machineProbe.ts';
import type { Reading } from '../types.ts';
import { domainOf } from './clocks.ts';

const devfreqRoot = '/sys/class/devfreq';

/** A Jetson's GPU tells thousandths beside its clock; where it does not, nothing. Readable without root. */
export function readLoads(probe: MachineProbe): Reading[] {
  return probe.list(devfreqRoot).flatMap((entry) => {
    const name = domainOf(entry);
    if (name === null || !name.startsWith('gpu')) return [];
    const thousandths = readNumber(probe, `${devfreqRoot}/${entry}/device/load`);
    return thousandths === null ? [] : [{ name, value: thousandths / 10 }];
  });
}
