/** Says how an example is called, and ends it as a wrong call of a command ends. */
export function usage(line: string): never {
  process.stderr.write(`Usage: node --import tsx examples/${line}\n`);
  process.exit(2);
}
