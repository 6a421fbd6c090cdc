// How every command begins. Called by the file of each command.

import type { Command } from 'commander';

/** A command with what every one has: inherited settings, and an example under its help. */
export function subcommand(parent: Command, name: string, description: string, example: string): Command {
  return parent
    .command(name)
    .description(description)
    .addHelpText('after', `\nExample:\n${indent(example)}`);
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n');
}
