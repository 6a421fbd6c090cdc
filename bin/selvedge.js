#!/usr/bin/env node
// The program's entry. Written so that old versions of Node.js can parse it: it checks the version before it loads
// anything else. In a checkout, whose node_modules has a newer Node.js, it runs on that one instead of refusing. The
// published package has the bundle alone (scripts/build.ts), a checkout the sources, and at times a bundle too.

// biome-ignore lint/style/useNodejsImportProtocol: Node.js before 12.20 does not know the protocol.
import { existsSync } from 'fs';
// biome-ignore lint/style/useNodejsImportProtocol: the same.
import { setFlagsFromString } from 'v8';

const [major, minor] = process.versions.node.split('.').map(Number);

if (major > 22 || (major === 22 && minor >= 18)) {
  // V8's young generation doubles with each burst of work, of which loading the program is the first, to tens of megabytes that an idle daemon
  // gives back late or never. It stays at its first 2 MB, which one thread collects in less time than it takes to wake four: docs/benchmarks.md
  // says what that saves and what it costs. Its largest size is fixed before any script runs, so that its growth is what a running program can
  // still set.
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--no-parallel-scavenge');
  const source = new URL('../control/cli/main.ts', import.meta.url);
  import(existsSync(source) ? source.href : '../dist/selvedge.js').then((cli) => cli.main());
} else {
  // biome-ignore lint/style/useNodejsImportProtocol: Node.js before 12.20 does not know the protocol.
  Promise.all([import('fs'), import('path'), import('child_process')]).then(([fs, path, childProcess]) => {
    const script = fs.realpathSync(process.argv[1]);
    const newer = path.join(path.dirname(script), '..', 'node_modules', '.bin', 'node');
    if (fs.existsSync(newer)) {
      runOn(newer, script, childProcess);
    } else {
      console.error(`selvedge needs Node.js 22.18 or newer; this is ${process.versions.node}. See https://nodejs.org/`);
      process.exit(2);
    }
  });
}

/** The child decides when to end: signals are passed on, its exit is ours. */
function runOn(node, script, childProcess) {
  const child = childProcess.spawn(node, [script].concat(process.argv.slice(2)), { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    console.error(`selvedge: cannot start ${node}: ${error.message}`);
    process.exit(2);
  });
  child.on('exit', (status, signal) => {
    if (signal === null) process.exit(status);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
