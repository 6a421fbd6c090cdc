// Runs one bench: `npm run bench -- join|deploy|cold-start|memory|footprint|tunnel|routing|announcing [--json]`. docs/benchmarks.md says how each measures. Progress
// goes to stderr; what a bench started is ended and removed, also when it is broken off.

import { loadavg } from 'node:os';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import type { Figure, Report } from './figures.ts';
import { checkout } from './packed.ts';
import { type Bench, runBench } from './run.ts';

/** A simulated one runs no program, so that none is packed for it. */
const benches: Record<string, { about: string; simulated?: true; load(): Promise<Bench> }> = {
  join: { about: 'exec of `up --token` to the first plan obeyed', load: async () => (await import('./join.ts')).join },
  deploy: {
    about: '`apply` accepted to ready on three nodes, beside a bare spawn of the same program',
    load: async () => (await import('./deploy.ts')).deploy,
  },
  'cold-start': {
    about: 'start of a worker without a controller to all ready, beside a shell script',
    load: async () => (await import('./cold-start.ts')).coldStart,
  },
  memory: {
    about: 'idle memory of a worker node, beside an empty Node.js process',
    load: async () => (await import('./memory.ts')).memory,
  },
  footprint: {
    about: 'memory and processor time of a node with twenty workloads at rest, beside one with none',
    load: async () => (await import('./footprint.ts')).footprint,
  },
  tunnel: {
    about: 'service calls between two nodes, beside plain TCP and a bare pair of node:tls relays',
    load: async () => (await import('./tunnel.ts')).tunnel,
  },
  routing: {
    about: 'messages and virtual time until 500 interior routers agree, beside 128',
    simulated: true,
    load: async () => (await import('./routing.ts')).routing,
  },
  announcing: {
    about: 'what 10,000 services cost each of 200 nodes to hear of, beside 1,000',
    simulated: true,
    load: async () => (await import('./announcing.ts')).announcing,
  },
};

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('Give a whole number above 0.');
  return Number(text);
}

const collect = (text: string, before: string[]): string[] => [...before, text];

function line({ name, value, unit, budget, against, holds }: Figure): string {
  const limit = budget === undefined ? '' : `  budget ${budget} ${unit}: ${holds ? 'holds' : 'does not hold'}`;
  const beside = against === undefined ? '' : `  (${against.name}: ${against.value})`;
  return `${name.padEnd(26)} ${value} ${unit}${limit}${beside}`;
}

function print({ bench, figures }: Report, json: boolean): void {
  for (const figure of figures) console.error(line(figure));
  if (json) console.log(JSON.stringify({ bench, figures }));
}

const names = Object.keys(benches);
const program = new Command('npm run bench --')
  .description('Measures this program on this box. Everything that is compared is measured in the same run, in turns.')
  .argument('<bench>', `one of ${names.join(', ')}`, (name) => {
    if (!names.includes(name)) throw new InvalidArgumentError(`There are ${names.join(', ')}.`);
    return name;
  })
  .option('--json', 'the figures as one JSON object, as the last line on stdout', false)
  .option('--rounds <number>', 'repeat this often instead of the usual number', wholeNumber)
  .option('--brief', 'as little as shows that the bench works; its figures are worth nothing', false)
  .option('--program <script>', 'measure this program, not what is bundled for it: a bin/selvedge.js')
  .option('--checkout', 'measure the checkout as it is, not bundled', false)
  .option('--node-option <argument>', 'argument of Node.js for each daemon, for profiles; may be repeated', collect, [])
  .addHelpText('after', `\n${names.map((name) => `  ${name.padEnd(12)}${benches[name]?.about ?? ''}`).join('\n')}`)
  .showHelpAfterError();

interface Options {
  json: boolean;
  rounds?: number;
  brief: boolean;
  program?: string;
  checkout: boolean;
  nodeOption: string[];
}

program.action(async (name: string, options: Options) => {
  const broken = new AbortController();
  const interrupted = (signal: NodeJS.Signals): void => {
    if (!broken.signal.aborted) console.error(`${signal}: ending what was started`);
    broken.abort(new Error(`broken off by ${signal}`));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted(signal));
  const startedAt = performance.now();
  const say = (text: string): void =>
    console.error(`${((performance.now() - startedAt) / 1_000).toFixed(1).padStart(6)} s  ${text}`);
  say(`load of this box: ${loadavg()[0]?.toFixed(2)}`);
  try {
    const bench = await benches[name]?.load();
    if (bench === undefined) throw new Error(`there is no bench ${name}`);
    const { rounds, brief, nodeOption: nodeOptions } = options;
    const script = options.checkout || benches[name]?.simulated ? checkout : options.program;
    const report = await runBench(bench, {
      rounds,
      brief,
      program: script === undefined ? undefined : resolve(script),
      nodeOptions,
      signal: broken.signal,
      say,
    });
    say(`load of this box: ${loadavg()[0]?.toFixed(2)}`);
    print(report, options.json);
    process.exit(0);
  } catch (error) {
    console.error(error instanceof Error && broken.signal.aborted ? error.message : error);
    process.exit(broken.signal.aborted ? 130 : 1);
  }
});

await program.parseAsync();
