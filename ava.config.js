import { fileURLToPath } from 'node:url';

export default {
  files: ['test/**/*.test.ts'],
  extensions: ['ts'],
  timeout: '120s',
  concurrency: 3,
  // A process per file: a child that one thread starts holds the listening sockets of all threads until it is another program.
  workerThreads: false,
  // Compiled once, for these processes and all that they start: two tests with daemons took 48 s of processor time without it, 33 to 37 with it.
  environmentVariables: { NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/compiled', import.meta.url)) },
};
