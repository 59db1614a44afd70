/** Writes a WebAssembly module from instructions, as much of the format as lowRankWasm.ts needs (spec 2.0, binary format). */

export type Code = readonly (number | Code)[];

export const i32 = 0x7f;
export const v128 = 0x7b;

/** Unsigned LEB128. */
export function leb(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  do {
    const low = rest & 0x7f;
    rest >>>= 7;
    out.push(rest === 0 ? low : low | 0x80);
  } while (rest !== 0);
  return out;
}

/** Signed LEB128. */
function signedLeb(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  for (;;) {
    const low = rest & 0x7f;
    rest >>= 7;
    const isLast = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0);
    out.push(isLast ? low : low | 0x80);
    if (isLast) return out;
  }
}

export const get = (local: number): Code => [0x20, leb(local)];
export const set = (local: number): Code => [0x21, leb(local)];
export const tee = (local: number): Code => [0x22, leb(local)];
export const constant = (value: number): Code => [0x41, signedLeb(value)];
export const i32Add: Code = [0x6a];
export const i32Sub: Code = [0x6b];
export const i32Mul: Code = [0x6c];
export const i32LessUnsigned: Code = [0x49];

const simd = (opcode: number, ...rest: Code): Code => [0xfd, leb(opcode), ...rest];
/** Alignment hint 2^2 bytes, then the offset. */
export const load128 = (offset: number): Code => simd(0x00, 2, leb(offset));
export const store128 = (offset: number): Code => simd(0x0b, 2, leb(offset));
export const loadSplat32 = (offset: number): Code => simd(0x09, 2, leb(offset));
export const zero128: Code = simd(0x0c, ...new Array<number>(16).fill(0));
export const or128: Code = simd(0x50);
export const anyTrue128: Code = simd(0x53);
export const extendLow16To32: Code = simd(0xa9);
export const extendHigh16To32: Code = simd(0xaa);
export const shiftLeft32: Code = simd(0xab);
export const f32x4Add: Code = simd(0xe4);
export const f32x4Sub: Code = simd(0xe5);
export const f32x4Mul: Code = simd(0xe6);

/** Adds `step` to a local. */
export const advance = (local: number, step: Code): Code => [get(local), step, i32Add, set(local)];

/** `do { body } while (counter = counter - step, counter != 0)`; the counter starts as a positive multiple of step. */
export const countDown = (counter: number, step: number, body: Code): Code => [
  [0x03, 0x40],
  body,
  get(counter),
  constant(step),
  i32Sub,
  tee(counter),
  [0x0d, 0],
  0x0b,
];

/** `do { body } while (local < limit)` */
export const whileBelow = (local: number, limit: number, body: Code): Code => [
  [0x03, 0x40],
  body,
  get(local),
  get(limit),
  i32LessUnsigned,
  [0x0d, 0],
  0x0b,
];

export interface WasmFunction {
  readonly name: string;
  /** i32 parameters. */
  readonly parameters: number;
  /** i32 results, 0 or 1. */
  readonly results: number;
  /** Further locals: how many i32, then how many v128. */
  readonly locals: readonly [number, number];
  readonly body: Code;
}

/** A module that imports the memory `env.memory` and exports these functions. */
export function assemble(functions: readonly WasmFunction[]): Uint8Array<ArrayBuffer> {
  const vector = (items: readonly Code[]): Code => [leb(items.length), ...items];
  const section = (id: number, content: Code): Code => {
    const bytes = flatten(content);
    return [id, leb(bytes.length), bytes];
  };
  const text = (value: string): Code => [leb(value.length), [...Buffer.from(value, 'latin1')]];
  const types = functions.map(
    ({ parameters, results }): Code => [
      0x60,
      vector(new Array<Code>(parameters).fill([i32])),
      vector(new Array<Code>(results).fill([i32])),
    ],
  );
  const bodies = functions.map(({ locals: [words, vectors], body }): Code => {
    const bytes = flatten([
      vector([
        [leb(words), i32],
        [leb(vectors), v128],
      ]),
      body,
      0x0b,
    ]);
    return [leb(bytes.length), bytes];
  });
  return Uint8Array.from(
    flatten([
      [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, vector(types)),
      section(2, vector([[text('env'), text('memory'), 0x02, 0x00, leb(1)]])),
      section(3, vector(functions.map((_, i) => leb(i)))),
      section(7, vector(functions.map(({ name }, i): Code => [text(name), 0x00, leb(i)]))),
      section(10, vector(bodies)),
    ]),
  );
}

function flatten(code: Code): number[] {
  return code.flatMap((item) => (typeof item === 'number' ? [item] : flatten(item)));
}
