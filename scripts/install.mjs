/**
 * Compiles the addon's CPU part into build/Release: `npm ci` in a clone starts it, and `node scripts/install.mjs` by hand, where the
 * prebuilt one does not load. Looks first whether this machine can do it, and says in one sentence what is missing and how to get
 * it.
 *
 * Plain JavaScript in an old dialect, so that an old Node reaches the sentence about its version.
 */

// biome-ignore-all lint/style/useNodejsImportProtocol: Node versions that are told to upgrade do not know `node:`.
// biome-ignore-all lint/complexity/useOptionalChain: the same.
import { spawnSync } from 'child_process';
import { existsSync, mkdirSync, realpathSync, renameSync, rmSync } from 'fs';
import { delimiter, dirname, join } from 'path';
import { fileURLToPath } from 'url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

// As in package.json and bin/semanticvla.js. The first with zlib.crc32.
const NEEDED_NODE = '^20.15 || >=22.2';
/** [major, minor] */
const OLDEST_PYTHON = [3, 8];
const DEBIAN_TOOLS = 'apt-get install -y build-essential python3';

function fail(sentence) {
  console.error(`semanticvla: ${sentence}`);
  process.exit(1);
}

/** Is `version` ("Python 3.11.2") at least [major, minor]? */
function atLeast(version, oldest) {
  const found = /(\d+)\.(\d+)/.exec(version);
  if (!found) return false;
  const major = Number(found[1]);
  return major > oldest[0] || (major === oldest[0] && Number(found[2]) >= oldest[1]);
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (!(major > 22 || (major === 22 && minor >= 2) || (major === 20 && minor >= 15))) {
    fail(
      `needs Node ${NEEDED_NODE} and found ${process.versions.node}; install a newer one, for example with: npm install -g n && n lts`,
    );
  }
}

function checkPython() {
  const python = process.env.PYTHON || process.env.npm_config_python || 'python3';
  const result = spawnSync(python, ['--version'], { encoding: 'utf8' });
  const version = `${result.stdout || ''}${result.stderr || ''}`.trim();
  if (result.status !== 0)
    fail(`needs Python 3 to build its addon and found no ${python}; install it with: ${DEBIAN_TOOLS}`);
  if (!atLeast(version, OLDEST_PYTHON)) {
    fail(
      `needs Python >= ${OLDEST_PYTHON.join('.')} to build its addon and found ${version}; install it with: ${DEBIAN_TOOLS}`,
    );
  }
}

function checkMake() {
  const make = process.env.MAKE || 'make';
  if (spawnSync(make, ['--version']).status !== 0) {
    fail(`needs make to build its addon and found no ${make}; install it with: ${DEBIAN_TOOLS}`);
  }
}

function checkCompiler() {
  // CXX may carry arguments or a wrapper ("ccache g++"), as make reads it.
  const command = (process.env.CXX || 'g++').trim().split(/\s+/);
  const compiler = command[0];
  const source =
    '#include <optional>\nint main() { if constexpr (sizeof(std::optional<int>) > 0) return 0; }\n';
  const args = command.slice(1).concat(['-std=c++17', '-fsyntax-only', '-x', 'c++', '-']);
  const result = spawnSync(compiler, args, { input: source, encoding: 'utf8' });
  // a compiler that ends before it has read the program (EPIPE) is there and cannot compile
  if (result.error && result.error.code !== 'EPIPE')
    fail(`needs a C++17 compiler and found no ${compiler}; install one with: ${DEBIAN_TOOLS}`);
  if (result.status !== 0) {
    fail(
      `needs a C++17 compiler and ${compiler} cannot compile a C++17 program (GCC 8 or Clang 7 are the oldest that can); install one with: ${DEBIAN_TOOLS}`,
    );
  }
}

/** node-gyp of the npm that a shell would start; npm is found through its link, as Node's archives and Debian have it. */
function nodeGypOfNpm() {
  const paths = (process.env.PATH || '').split(delimiter);
  const npm = paths.map((folder) => join(folder, 'npm')).find((file) => existsSync(file));
  return npm && join(dirname(dirname(realpathSync(npm))), 'node_modules/node-gyp/bin/node-gyp.js');
}

/** npm and pnpm name their own node-gyp to install scripts; run by hand or by yarn, npm's serves, else one on the PATH. */
function findNodeGyp() {
  const besideNode = join(
    dirname(dirname(process.execPath)),
    'lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js',
  );
  const candidates = [process.env.npm_config_node_gyp, besideNode, nodeGypOfNpm()];
  for (const candidate of candidates) {
    if (candidate && existsSync(candidate)) return [process.execPath, candidate];
  }
  if (spawnSync('node-gyp', ['--version']).status === 0) return ['node-gyp'];
  return fail(
    'needs node-gyp, which comes with npm, and found none; install npm (it is part of every archive of Node), or: npm install -g node-gyp',
  );
}

/** Headers that were installed with the running node make a download unnecessary. */
function nodeHeaders() {
  if (process.env.npm_config_nodedir) return [];
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, 'include/node/node_api.h')) ? ['--nodedir', prefix] : [];
}

checkNode();
if (process.platform !== 'linux') {
  // the same words as lib/addon/binding.ts
  console.log(
    `semanticvla: policies run on Linux; on ${process.platform} this package has clients (connectAct, connectOpenpi), schedulers, report and roofline, and builds no addon`,
  );
  process.exit(0);
}
checkPython();
checkMake();
checkCompiler();

const [command, ...first] = findNodeGyp();
const args = first.concat(['rebuild', '--jobs', '2', '--loglevel', 'warn'], nodeHeaders());
const sources = join(root, 'native');
const result = spawnSync(command, args, { cwd: sources, stdio: 'inherit' });
if (result.status !== 0) {
  fail(
    'the addon did not compile; the compiler output above says why (offline, set npm_config_nodedir to a folder with include/node)',
  );
}
// In one step, for a program that has the old one open; objects and makefiles are of no further use.
const made = join(root, 'build/Release');
mkdirSync(made, { recursive: true });
renameSync(join(sources, 'build/Release/semanticvla.node'), join(made, 'semanticvla.node'));
rmSync(join(sources, 'build'), { recursive: true });
