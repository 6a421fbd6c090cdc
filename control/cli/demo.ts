// `selvedge demo`: a fabric of three nodes on this box that runs the example, until it is told to end. `npm start` runs it.

import type { Command } from 'commander';
import type { GlobalOptions } from './context.ts';
import { dataFolderOf } from './data-folder.ts';
import { bringUp, type Demo, newDemoState, startNode } from './demo-fabric.ts';
import { makeDemoFolder } from './demo-folder.ts';
import { logsText, resultOf, whatNext, whatRunsWhere } from './demo-report.ts';
import { createSteps, type Progress } from './demo-step.ts';
import { tearDown } from './demo-teardown.ts';
import { formatDuration } from './durations.ts';
import { DemoStepError, InterruptedError } from './errors.ts';
import type { Host } from './host.ts';
import { sameSignalMs } from './limits.ts';
import { subcommand } from './subcommand.ts';

interface DemoOptions {
  once?: boolean;
  json?: boolean;
  keep?: boolean;
}

const teardownStep = 'stop everything';

interface Ending {
  /** Aborted at the first signal, and when nobody reads the output any more. */
  wanted: AbortSignal;
  /** Aborted at a second signal that is not the same Ctrl-C. */
  hurry: AbortSignal;
  undo(): void;
}

function listenForEnd(host: Host): Ending {
  const wanted = new AbortController();
  const hurry = new AbortController();
  let firstAt: number | undefined;
  const undoSignals = host.onSignal((signal) => {
    const now = host.clock.now();
    if (firstAt !== undefined && now - firstAt > sameSignalMs) hurry.abort();
    firstAt ??= now;
    wanted.abort(new InterruptedError(`got ${signal}`));
  });
  const undoClosed = host.onOutputClosed(() => wanted.abort(new InterruptedError('nobody reads the output any more')));
  const undo = (): void => {
    undoSignals();
    undoClosed();
  };
  return { wanted: wanted.signal, hurry: hurry.signal, undo };
}

function createProgress(host: Host, say: (text: string) => void): Progress {
  const startedAt = host.clock.now();
  return {
    line(who, text) {
      const seconds = ((host.clock.now() - startedAt) / 1_000).toFixed(2).padStart(7);
      say(`${host.style('dim', `${seconds} s`)}  ${host.style('bold', who.padEnd(8))} ${text}`);
    },
  };
}

/** Prints where everything is and waits for the end; a node that ends meanwhile is told, not mended. */
async function stayUp(demo: Demo, wanted: AbortSignal, say: (text: string) => void): Promise<void> {
  say('');
  say(whatRunsWhere(demo.host, demo.state));
  say('');
  say(whatNext(demo.host, demo.state, demo.folder));
  for (const daemon of demo.state.daemons) {
    void daemon.ended.then((why) => {
      if (!demo.state.quiet) demo.progress.line(daemon.name, why);
    });
  }
  if (wanted.aborted) return;
  await new Promise<void>((resolve) => wanted.addEventListener('abort', () => resolve(), { once: true }));
}

async function endAll(demo: Demo, hurry: AbortSignal): Promise<{ teardownMs: number; forced: string[] }> {
  const { host, state, folder, progress } = demo;
  const startedAt = host.clock.now();
  state.quiet = true;
  // Without instances there is nothing that only a daemon could end.
  const revive =
    state.instances.length === 0
      ? undefined
      : (daemon: { name: string }) => startNode(demo, daemon.name, { arguments: [] });
  const forced = await tearDown({ host, folder, daemons: state.daemons, revive, hurry });
  const teardownMs = Math.round(host.clock.now() - startedAt);
  for (const line of forced) progress.line('demo', line);
  progress.line('demo', `${teardownStep}: ${host.style('green', formatDuration(teardownMs))}`);
  return { teardownMs, forced };
}

async function demonstrate(options: DemoOptions & GlobalOptions, host: Host): Promise<void> {
  const json = options.json === true || options.output === 'json';
  const given = options.data;
  const stays = options.once !== true || options.keep === true;
  const say = (text: string): void => (json ? host.error(text) : host.out(text));
  const ending = listenForEnd(host);
  const folder = await makeDemoFolder(given === undefined ? undefined : dataFolderOf(host, given));
  const progress = createProgress(host, say);
  const demo: Demo = {
    host,
    folder,
    progress,
    steps: createSteps({ host, progress, interrupted: ending.wanted }),
    state: newDemoState(),
  };
  progress.line('demo', `three nodes, each a process with its own folder below ${folder.path}`);

  let failure: unknown;
  try {
    await bringUp(demo);
    if (stays) {
      if (json) host.out(JSON.stringify(resultOf(demo.state, null)));
      await stayUp(demo, ending.wanted, say);
    }
  } catch (error) {
    // What a step made of being interrupted is no news.
    failure = ending.wanted.aborted ? ending.wanted.reason : error;
    if (failure === error) say(logsText(demo.state.daemons));
  }
  const { teardownMs, forced } = await endAll(demo, ending.hurry);
  ending.undo();
  if (failure === undefined && !stays && forced.length > 0)
    failure = new DemoStepError(teardownStep, forced.join('; '));
  if (failure !== undefined) {
    const { step, reason } =
      failure instanceof DemoStepError ? failure : { step: demo.steps.current, reason: (failure as Error).message };
    if (json) host.out(JSON.stringify({ ok: false, failedStep: step, error: reason }));
    throw failure;
  }
  if (!stays && json) host.out(JSON.stringify(resultOf(demo.state, teardownMs)));
  if (!stays && !json) say(`\n${whatRunsWhere(host, demo.state)}\n\nAll of it worked, and nothing is left of it.`);
}

export function addDemo(program: Command, host: Host): void {
  subcommand(
    program,
    'demo',
    'Show it all on this box: three nodes find each other, join, and run examples/cold-chain. Nothing is left afterwards.\n' +
      '--data is the folder in which it makes its own (default: the temporary folder).',
    '$ selvedge demo\n$ selvedge demo --once --json',
  )
    .option('--once', 'end after a look from outside whether it works')
    .option('--json', 'print one JSON object about it as the last line of stdout, everything else to stderr')
    .option('--keep', 'with --once: print the result, and stay up until Ctrl-C')
    .action(async (_options: DemoOptions, command: Command) => {
      await demonstrate(command.optsWithGlobals<DemoOptions & GlobalOptions>(), host);
    });
}
