/** Encoded instructions, least recently used out first. A state in use is given back only when its last user is done. */

import type { InstructionState } from '../runtime/session.ts';
import { orAborted } from '../support/abort.ts';

/** One instruction, encoded for one session. */
export interface EncodedInstruction {
  readonly state: InstructionState;
  /** Milliseconds of tokenizing and encoding, 0 when it came from the cache. */
  readonly encodeMs: number;
}

class Entry {
  readonly encoded: Promise<InstructionState>;
  #users = 0;
  #evicted = false;

  constructor(encoded: Promise<InstructionState>) {
    this.encoded = encoded;
  }

  enter(): void {
    this.#users += 1;
  }

  leave(): void {
    this.#users -= 1;
    this.#releaseWhenUnused();
  }

  evict(): void {
    this.#evicted = true;
    this.#releaseWhenUnused();
  }

  #releaseWhenUnused(): void {
    if (!this.#evicted || this.#users > 0) return;
    this.encoded.then(
      (state) => state.release(),
      () => {
        // it was never encoded, so there is nothing to give back
      },
    );
  }
}

export class InstructionCache {
  readonly #max: number;
  /** A Map keeps the order in which keys came: the first is the one whose last use is longest ago. */
  readonly #entries = new Map<string, Entry>();

  /** @param max instructions kept, at least 1 */
  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Runs `use` with the encoded instruction; concurrent callers of one instruction encode it once.
   * @param signal aborts this caller's wait alone: the encoding is shared, so it goes on for the others and is kept
   */
  async use<T>(
    instruction: string,
    encode: () => Promise<InstructionState>,
    use: (encoded: EncodedInstruction) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    let entry = this.#entries.get(instruction);
    const start = performance.now();
    const cached = entry !== undefined;
    if (entry === undefined) {
      entry = this.#add(instruction, encode());
    } else {
      this.#entries.delete(instruction);
      this.#entries.set(instruction, entry);
    }
    entry.enter();
    try {
      const state = await orAborted(entry.encoded, signal);
      return await use({ state, encodeMs: cached ? 0 : performance.now() - start });
    } finally {
      entry.leave();
    }
  }

  #add(instruction: string, encoded: Promise<InstructionState>): Entry {
    const entry = new Entry(encoded);
    this.#entries.set(instruction, entry);
    if (this.#entries.size > this.#max) this.#evict(this.#entries.keys().next().value!);
    // a failed encoding is not kept: the next caller tries again
    encoded.catch(() => {
      if (this.#entries.get(instruction) === entry) this.#evict(instruction);
    });
    return entry;
  }

  #evict(instruction: string): void {
    this.#entries.get(instruction)!.evict();
    this.#entries.delete(instruction);
  }

  clear(): void {
    for (const instruction of [...this.#entries.keys()]) this.#evict(instruction);
  }
}
