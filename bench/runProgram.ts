/** A benchmark's command line, run: an error of the caller is one line with its code, and exit code 2. */

import type { Command } from 'commander';
import { SemanticVlaError } from '../lib/support/errors.ts';

export async function runProgram(program: Command): Promise<void> {
  try {
    await program.parseAsync();
  } catch (error) {
    if (!(error instanceof SemanticVlaError)) throw error;
    console.error(`${error.code}: ${error.message}`);
    process.exitCode = 2;
  }
}
