/** What is used of msgpack5, which has no types of its own; those of DefinitelyTyped are of its version 3, without `preferMap`. */
declare module 'msgpack5' {
  interface Options {
    /** Maps are read as `Map`, whatever their keys are. */
    readonly preferMap: boolean;
    /** false: numbers that float32 holds exactly are written as float32. */
    readonly forceFloat64: boolean;
  }
  interface Msgpack {
    encode(value: unknown): Buffer;
    /** Byte strings in the result are views of `bytes`. */
    decode(bytes: Buffer): unknown;
  }
  function msgpack5(options: Options): Msgpack;
  export = msgpack5;
}
