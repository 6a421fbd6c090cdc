// The documented commands that the boxes of these tests cannot run as they are: why, which other test runs them, and what is done
// in their place so that the story can go on. Read by commands.test.ts, which also looks into the other test. Keep it short.

export interface NotRunHere {
  command: RegExp;
  why: string;
  /** The test (or what it is made of) that runs it, and a piece of that file which shows so. */
  provedBy: string;
  shows: string;
  /** A shell command for the same box; `boxes` is the folder that has every box's. Nothing, when the page is no story. */
  instead?: (match: RegExpExecArray, boxes: string) => string;
}

const systemd = 'the boxes have no systemd; one that has it is booted by the other test';
const systemdTest = 'test/e2e/systemd.test.ts';

export const notRunHere: readonly NotRunHere[] = [
  {
    command: /^npm start( -- --once --json)?$|^selvedge demo --once --json$/,
    why: 'it is a story of its own',
    provedBy: 'test/e2e/demo.test.ts',
    shows: "['npm', 'start', '--', '--json', '--keep', '--once']",
  },
  { command: /^npm test$/, why: 'it is running', provedBy: '.ci/run', shows: 'npm test' },
  {
    command: /^npm pack$/,
    why: 'it writes into the checkout; the other test packs a copy',
    provedBy: 'test/e2e/package.ts',
    shows: "run('npm', ['pack'",
    instead: () => ':',
  },
  {
    command: /^(sudo )?npm install -g \.\/selvedge-<(version|newer)>\.tgz$/,
    why: 'the boxes reach no registry',
    provedBy: 'test/e2e/package.ts',
    shows: "run('npm', ['install', '--global'",
    instead: () => ':',
  },
  {
    command: /^(sudo )?npm uninstall -g selvedge$/,
    why: 'the boxes share one installation',
    provedBy: 'test/e2e/install.test.ts',
    shows: "run('npm', ['uninstall', '--global'",
    instead: () => ':',
  },
  {
    command: /^(?:sudo )?scp (\S+) (\w+):$/,
    why: 'the boxes run no SSH server; the file is copied',
    provedBy: 'test/docs/not-run-here.ts',
    shows: 'cp "$1"',
    instead: ([, file, box], boxes) => `set -- ${file} ${boxes}/${box}/home; cp "$1" "$2"`,
  },
  {
    command: /^(?:sudo )?selvedge install(.*)$/,
    why: systemd,
    provedBy: systemdTest,
    shows: "['install', '--found', '--fabric', 'plant', '--name', 'press-4']",
    instead: ([, options]) => `selvedge up${options} --detach`,
  },
  {
    command: /^(?:sudo )?selvedge uninstall( --keep-workloads| --purge)?$/,
    why: systemd,
    provedBy: systemdTest,
    shows: "'uninstall', '--purge'",
    instead: ([, option]) =>
      option === ' --keep-workloads'
        ? 'selvedge down'
        : `selvedge down --workloads${option === ' --purge' ? '; rm -r /var/lib/selvedge' : ''}`,
  },
  {
    command: /^(?:sudo )?systemctl (start|stop|restart) selvedge$/,
    why: systemd,
    provedBy: systemdTest,
    shows: "'systemctl', 'restart', 'selvedge'",
    instead: ([, verb]) =>
      ({ start: 'selvedge up --detach', stop: 'selvedge down', restart: 'selvedge down; selvedge up --detach' })[
        verb ?? ''
      ] ?? 'false',
  },
  {
    command: /^selvedge exec -it visitor -- sh$/,
    why: 'it takes a terminal and somebody who types',
    provedBy: 'test/e2e/exec-terminal.test.ts',
    shows: 'sh -i',
  },
  {
    command: /^npm install -g --prefix image .*tgz$|^docker (build|run|exec|update|rm) /,
    why: 'it takes a base image, and a story of its own',
    provedBy: 'test/e2e/node-image.test.ts',
    shows: "asWritten('docker build')",
  },
  {
    command: /^examples\/cold-chain\/docker\/build\.sh$|^selvedge apply examples\/cold-chain\/app-docker\.yaml$/,
    why: 'it takes a Docker Engine on each node, and a story of its own',
    provedBy: 'test/e2e/docker.test.ts',
    shows: 'docker/build.sh',
  },
  {
    command: /^selvedge stage -f shop\.yaml$/,
    why: 'it takes a Docker Engine and a registry',
    provedBy: 'test/e2e/stage.test.ts',
    shows: "selvedge('stage', '-f'",
  },
  {
    command: /^npm run simulate -- two-nodes-join /,
    why: 'it has no boxes',
    provedBy: 'test/simulations/simulate.test.ts',
    shows: 'two-nodes-join',
  },
  {
    command: /^npm run bench -- /,
    why: 'it takes minutes',
    provedBy: 'test/benches/benches.test.ts',
    shows: "URL('main.ts'",
  },
];

export function findNotRunHere(command: string): { entry: NotRunHere; match: RegExpExecArray } | undefined {
  for (const entry of notRunHere) {
    const match = entry.command.exec(command);
    if (match !== null) return { entry, match };
  }
  return undefined;
}
