// What a simulated workload does: its command says so. Called by sim-engine.ts; test/node-runtime/workload.ts does the same
// with a real process. Steps are taken in order:
//
//   print:TEXT  warn:TEXT  partial:TEXT   a line on stdout, one on stderr, text on stdout without a newline
//   after:MS                              waits
//   exit:STATUS@MS                        ends with a status after that long
//   signal:NAME@MS                        is ended by a signal after that long
//   crash-then-run:TIMES@MS               ends with status 1 after that long, TIMES times in a row; later launches run on
//   copy                                  a command beside a workload: copies its stdin to its stdout until that ends
//   hang-on-term                          from here on ignores being asked to end
//   run                                   runs until it is ended

export type WorkloadStep =
  | { kind: 'say'; stream: 'stdout' | 'stderr'; text: string }
  | { kind: 'wait'; delayMs: number }
  | { kind: 'end'; delayMs: number; status: number | undefined; signal: string | undefined }
  | { kind: 'deaf' }
  | { kind: 'run' }
  | { kind: 'copy' };

/** The steps of `['sim', …]` for the nth launch (from 0) of an instance; undefined when it is no such command. */
export function workloadSteps(command: string[], launch: number): WorkloadStep[] | undefined {
  if (command[0] !== 'sim' || command.length < 2) return undefined;
  const steps: WorkloadStep[] = [];
  for (const word of command.slice(1)) {
    const step = parseStep(word, launch);
    if (step === undefined) return undefined;
    steps.push(step);
  }
  return steps;
}

function parseStep(word: string, launch: number): WorkloadStep | undefined {
  if (word === 'run') return { kind: 'run' };
  if (word === 'copy') return { kind: 'copy' };
  if (word === 'hang-on-term') return { kind: 'deaf' };
  const [, verb, rest] = /^([a-z-]+):(.*)$/s.exec(word) ?? [];
  if (verb === undefined || rest === undefined) return undefined;
  if (verb === 'print') return { kind: 'say', stream: 'stdout', text: `${rest}\n` };
  if (verb === 'warn') return { kind: 'say', stream: 'stderr', text: `${rest}\n` };
  if (verb === 'partial') return { kind: 'say', stream: 'stdout', text: rest };
  if (verb === 'after') return /^\d+$/.test(rest) ? { kind: 'wait', delayMs: Number(rest) } : undefined;

  const [, what = '', delay = ''] = /^([A-Z0-9]+)@(\d+)$/.exec(rest) ?? [];
  const delayMs = Number(delay);
  if (what === '') return undefined;
  if (verb === 'exit') return { kind: 'end', delayMs, status: Number(what), signal: undefined };
  if (verb === 'signal') return { kind: 'end', delayMs, status: undefined, signal: what };
  if (verb === 'crash-then-run') {
    return launch < Number(what) ? { kind: 'end', delayMs, status: 1, signal: undefined } : { kind: 'run' };
  }
  return undefined;
}
