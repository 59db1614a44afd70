import { SemanticVlaError } from '../../lib/support/errors.ts';

/** The code and message that `work` fails with; another error, or none, fails the test. */
export async function failure(work: () => unknown): Promise<{ code: string; message: string }> {
  try {
    await work();
  } catch (error) {
    if (error instanceof SemanticVlaError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('expected an error, and nothing was thrown');
}
