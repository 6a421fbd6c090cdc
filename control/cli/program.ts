// The tree of commands. Called by main.ts and by tests; each command is a file that adds itself.

import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { addApplications } from './applications.ts';
import { addApply } from './apply.ts';
import { addCompletion } from './completion.ts';
import { addConfigs, addSecrets } from './contents.ts';
import type { GlobalOptions } from './context.ts';
import { addDelete } from './delete.ts';
import { addDemo } from './demo.ts';
import { addDescribe } from './describe.ts';
import { addDoctor } from './doctor.ts';
import { addDown } from './down.ts';
import { addEnroll } from './enroll.ts';
import { UsageError } from './errors.ts';
import { addEvents } from './events.ts';
import { addExec } from './exec.ts';
import { addGateways } from './gateways.ts';
import { addGrants } from './grants.ts';
import type { Host } from './host.ts';
import { addInstall } from './install.ts';
import { addLogs } from './logs.ts';
import { addNodes } from './nodes.ts';
import { addPolicies } from './policies.ts';
import { addPublish } from './publish.ts';
import { addServices } from './services.ts';
import { addStage } from './stage.ts';
import { addStatus } from './status.ts';
import { addSupportBundle } from './support-bundle.ts';
import { addToken } from './token.ts';
import { addTopology } from './topology.ts';
import { addTrace } from './trace.ts';
import { addUninstall } from './uninstall.ts';
import { addUp } from './up.ts';
import { addWait } from './wait.ts';

const about = `One program per box: boxes find each other on the LAN, join over an encrypted mesh and run microservices.

Commands talk to the daemon of this box over a Unix socket in its data folder.`;

const examples = `
Examples:
  $ selvedge demo                                  three nodes on this box, running an application
  $ selvedge up --found                            found a fabric here
  $ selvedge token create                          admit another box, by token
  $ selvedge nodes approve K7-ABCD-EFGH-JK         … or by the code that it shows
  $ selvedge apply examples/cold-chain/app.yaml
  $ selvedge status

Exit codes: 0 ok, 1 refused or failed, 2 wrong usage.`;

function version(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

/** Makes the program; its errors are commander's CommanderError and those of errors.ts. */
export function createProgram(host: Host): Command {
  const program = new Command('selvedge')
    .description(about)
    .version(version(), '-V, --version')
    .option('--data <folder>', 'data folder (root: /var/lib/selvedge; others: ~/.local/state/selvedge)')
    .addOption(
      new Option('-o, --output <form>', 'form of the output; dot, for Graphviz, of `topology` alone')
        .choices(['table', 'json', 'dot'])
        .default('table'),
    )
    .addHelpText('after', examples)
    .configureHelp({ showGlobalOptions: true, helpWidth: host.columns ?? 100 })
    .configureOutput({
      writeOut: (text) => host.out(text.trimEnd()),
      writeErr: (text) => host.error(text.trimEnd()),
    })
    .showHelpAfterError('(selvedge help shows the commands, selvedge <command> --help one of them)')
    .exitOverride()
    .hook('preAction', (_, command) => {
      if (command.optsWithGlobals<GlobalOptions>().output !== 'dot' || command.name() === 'topology') return;
      throw new UsageError(`${command.name()} has no form for Graphviz`, { action: 'Write -o table or -o json.' });
    });
  const add = [
    addUp,
    addDown,
    addInstall,
    addUninstall,
    addDemo,
    addStatus,
    addToken,
    addEnroll,
    addNodes,
    addApply,
    addStage,
    addDelete,
    addApplications,
    addServices,
    addTopology,
    addTrace,
    addConfigs,
    addSecrets,
    addPolicies,
    addPublish,
    addGateways,
    addGrants,
  ];
  for (const addCommand of [
    ...add,
    addDescribe,
    addWait,
    addLogs,
    addExec,
    addEvents,
    addDoctor,
    addSupportBundle,
    addCompletion,
  ])
    addCommand(program, host);
  return program;
}
