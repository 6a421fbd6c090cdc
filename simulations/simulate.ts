// `npm run simulate -- SCENARIO [--seed N] [--json] [--trace FILE]`: runs a scenario on virtual time and says how it went.

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { parseArgs } from 'node:util';
import { runScenario, type Scenario } from './scenario.ts';
import { controllerCrash } from './scenarios/controller-crash.ts';
import { crashLoops } from './scenarios/crash-loops.ts';
import { deadDependency } from './scenarios/dead-dependency.ts';
import { nodeDay } from './scenarios/node-day.ts';
import { twoNodesJoin } from './scenarios/two-nodes-join.ts';

const scenarios: Record<string, { run: Scenario; about: string }> = {
  'two-nodes-join': { run: twoNodesJoin, about: 'one founds, one joins, both run an application for a day' },
  'controller-crash': {
    run: controllerCrash,
    about: 'the only controller dies in the middle of its work, and comes back',
  },
  'crash-loops': { run: crashLoops(), about: 'five hundred instances crash again and again, and disturb nobody' },
  'node-day': {
    run: nodeDay(),
    about: 'crashes, outages, changes, partitions, clock jumps: nothing is lost or doubled',
  },
  'dead-dependency': { run: deadDependency(), about: 'what another one needs fails for a month, and then does not' },
};

const help = `Usage: npm run simulate -- SCENARIO [--seed TEXT] [--json] [--trace FILE]

Runs the product's own actors on simulated time, network, disks and engines.

Scenarios:
${Object.entries(scenarios)
  .map(([name, { about }]) => `  ${name.padEnd(20)} ${about}`)
  .join('\n')}

  --seed TEXT    what chance is drawn from (default 1): one seed gives one trace
  --trace FILE   writes the trace: JSON lines of virtual ms, node, actor, event, state
  --json         prints one JSON object: ok, scenario, seed, virtualMs, wallMs, records, traceHash, results

Example:
  npm run simulate -- two-nodes-join --seed 7 --trace trace.jsonl
`;

function usage(reason: string): never {
  console.error(`${reason}\n\n${help}`);
  process.exit(2);
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        seed: { type: 'string', default: '1' },
        json: { type: 'boolean', default: false },
        trace: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error));
  }
}

async function main(): Promise<void> {
  const { values, positionals } = readArguments();
  if (values.help) {
    console.log(help);
    return;
  }
  const [name = '', ...more] = positionals;
  const scenario = Object.hasOwn(scenarios, name) ? scenarios[name] : undefined;
  if (scenario === undefined || more.length > 0)
    usage(name === '' ? 'which scenario?' : `there is no scenario ${name}`);
  const file = values.trace === undefined ? undefined : createWriteStream(values.trace);
  if (file) await once(file, 'open');
  const startedAt = performance.now();
  const result = await runScenario(scenario.run, {
    seed: values.seed,
    ...(file && { onLine: (line: string) => void file.write(`${line}\n`) }),
  });
  const wallMs = Math.round(performance.now() - startedAt);
  if (file) {
    file.end();
    await once(file, 'finish');
  }
  if (values.json) {
    const { ok, error, virtualMs, records, traceHash, results } = result;
    console.log(
      JSON.stringify({
        ok,
        ...(error && { error }),
        scenario: name,
        seed: values.seed,
        virtualMs,
        wallMs,
        records,
        traceHash,
        results,
      }),
    );
  } else {
    console.log(`${name}, seed ${values.seed}: ${result.ok ? 'ok' : `failed: ${result.error}`}`);
    console.log(`${result.virtualMs} virtual ms in ${wallMs} ms, ${result.records} steps, trace ${result.traceHash}`);
    for (const [what, value] of Object.entries(result.results)) console.log(`  ${what}: ${value}`);
    if (!result.ok) console.log('Run it again with --trace FILE and follow the last steps.');
  }
  process.exit(result.ok ? 0 : 1);
}

await main();
