export default {
  files: ['test/**/*.test.ts'],
  extensions: ['ts'],
  timeout: '120s',
  concurrency: 2,
  // A process per file: a child that one thread starts holds the listening sockets of all threads until it is another program.
  workerThreads: false,
};
