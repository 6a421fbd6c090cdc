// `selvedge nodes label`. Called by nodes.ts.

import type { Command } from 'commander';
import { contextOf, print } from './context.ts';
import { UsageError } from './errors.ts';
import type { Host } from './host.ts';
import { labelsText } from './render.ts';
import { subcommand } from './subcommand.ts';
import { printable } from './table.ts';

/** `site=north` sets, `site-` removes. */
function readChanges(words: readonly string[]): { set: Record<string, string>; remove: string[] } {
  const set: Record<string, string> = {};
  const remove: string[] = [];
  for (const word of words) {
    const at = word.indexOf('=');
    if (at > 0) set[word.slice(0, at)] = word.slice(at + 1);
    else if (at < 0 && word.length > 1 && word.endsWith('-')) remove.push(word.slice(0, -1));
    else
      throw new UsageError(`${printable(word)} is no label`, { action: 'Write key=value, or key- to take one away.' });
  }
  return { set, remove };
}

export function addLabel(nodes: Command, host: Host): void {
  subcommand(
    nodes,
    'label',
    'Give a node labels, or take them away. Work whose `placement.labels` no longer fits gets another place.',
    '$ selvedge nodes label press-4 hall=2 spare-',
  )
    .argument('<name>', 'name of the node')
    .argument('<labels...>', 'key=value to set, key- to take away')
    .action(async (name: string, words: string[], _options: unknown, command: Command) => {
      const context = contextOf(host, command);
      const view = await context.client.labelNode(name, readChanges(words));
      print(context, view, () => `${printable(view.node)}: ${labelsText(view.labels)}`);
    });
}
