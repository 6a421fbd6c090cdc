// `selvedge doctor`: what is wrong with this box, with its daemon up or down. The checks are node-runtime's, which `up` runs on too:
// beside up.ts the only file of control that imports it.

import type { Command } from 'commander';
import type { DaemonState, Finding } from '../../node-runtime/doctor/doctor.ts';
import { asJson, type Context, contextOf } from './context.ts';
import { DoctorFoundError, NoDaemonError, SocketForbiddenError } from './errors.ts';
import type { Host } from './host.ts';
import { withProgress } from './progress.ts';
import { subcommand } from './subcommand.ts';
import { indented, printable } from './table.ts';

async function askDaemon({ client }: Context): Promise<DaemonState> {
  try {
    return { kind: 'answers', status: await client.status() };
  } catch (error) {
    if (error instanceof NoDaemonError) return { kind: 'down' };
    // Whose socket it is the data folder's check says too; without the folder there is nothing to examine.
    if (error instanceof SocketForbiddenError) throw error;
    return { kind: 'silent', reason: (error as Error).message };
  }
}

const marks = { ok: ['green', '✔'], warn: ['yellow', '!'], fail: ['red', '✘'] } as const;

function findingText(host: Host, { id, outcome, message, action }: Finding, width: number): string {
  const [colour, mark] = marks[outcome];
  const head = `${host.style(colour, mark)} ${host.style('bold', id.padEnd(width))}  `;
  const lines = [indented(host, printable(message), width + 4)];
  if (outcome !== 'ok' && action !== '') lines.push(indented(host, `→ ${printable(action)}`, width + 4));
  return head + lines.join('\n').trimStart();
}

function summary(host: Host, findings: readonly Finding[]): string {
  const count = (wanted: Finding['outcome']): number => findings.filter(({ outcome }) => outcome === wanted).length;
  const [failed, warned] = [count('fail'), count('warn')];
  if (failed + warned === 0) return host.style('green', `All ${findings.length} checks are ok.`);
  const text = `${findings.length} checks: ${count('ok')} ok, ${warned} to look at, ${failed} failed.`;
  return host.style(failed > 0 ? 'red' : 'yellow', text);
}

export function addDoctor(program: Command, host: Host): void {
  subcommand(
    program,
    'doctor',
    'Examine this box: ports, clock, data folder, engines, network, certificates. Exit code 1 when a check fails.',
    '$ selvedge doctor\n$ selvedge doctor -o json',
  ).action(async (_options: unknown, command: Command) => {
    const context = contextOf(host, command);
    const { examine } = await import('../../node-runtime/doctor/doctor.ts');
    const { dataFolder } = context;
    const findings = await withProgress(host, 'examining this box', async () =>
      examine({ dataFolder, clock: host.clock, daemon: await askDaemon(context) }),
    );
    const failed = findings.filter(({ outcome }) => outcome === 'fail');
    if (context.json) {
      const checks = findings.map(({ id, outcome, message, action }) => ({ id, status: outcome, message, action }));
      host.out(asJson({ ok: failed.length === 0, dataFolder, checks }, 2));
    } else {
      const width = Math.max(...findings.map(({ id }) => id.length));
      host.out(
        [...findings.map((finding) => findingText(host, finding, width)), '', summary(host, findings)].join('\n'),
      );
    }
    if (failed.length > 0) throw new DoctorFoundError();
  });
}
