/** What the policy of benchServer.ts does other than answer. */

/** An inference that ends with its signal. */
export const endless = 'endless';
/** An answer of so many rows: beyond what the socket of a client takes that does not read. */
export const long = 'long';
export const longRows = 40_000;
