/** The calls of a quarter of an hour on a lent machine: what to carry, the command, its time limit. */

export interface Call {
  /** Paths below the checkout, from the folder of parts. */
  readonly carry: readonly string[];
  /** Run in the checkout's copy over there. */
  readonly command: string;
  /** Seconds. */
  readonly timeout: number;
  readonly what: string;
}

/** Over there, outside the checkout's copy, so that nothing is in the way of the next transfer. */
const home = '/tmp/semanticvla-gpu';
const call = `bash ${home}/scripts/gpu/call.sh`;

/** @param parts names of the parts (pack.ts), the base first */
export function callsOf([base, ...rest]: readonly string[], folder = 'packed'): Call[] {
  const unpackBase = `mkdir -p ${home} && { tar -xJf ${folder}/${base} -C ${home} || python3 -m tarfile -e ${folder}/${base} ${home}; }`;
  return [
    {
      carry: [`${folder}/${base}`],
      command: `${unpackBase} && ${call} --background checkpoint; ${call} --stages machine,kernels,session,memcheck,racecheck --budget 210; ${call} results`,
      timeout: 270,
      what: 'what needs no TensorRT: kernels, session, compute-sanitizer; random weights are made meanwhile',
    },
    ...rest.map((part) => ({
      carry: [`${folder}/${part}`],
      command: `${call} unpack ${folder}/${part}`,
      timeout: 60,
      what: 'TensorRT, a part',
    })),
    {
      carry: [],
      command: `${call} --skip synccheck,initcheck --budget 400; ${call} results`,
      timeout: 460,
      what: 'the rest: golden cases, latency, bound against baked, layers, PyTorch',
    },
  ];
}

export function callsText(calls: readonly Call[]): string {
  const rows = calls.map(
    ({ carry, command, timeout, what }, i) =>
      `${i + 1}. ${what}. Carry: ${carry.join(', ') || 'nothing'}. At most ${timeout} s:\n\n   \`\`\`sh\n   ${command}\n   \`\`\``,
  );
  return `${rows.join('\n\n')}\n`;
}
