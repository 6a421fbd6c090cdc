// `selvedge completion`: a script that lets a shell complete commands, options and values.

import { Argument, type Command } from 'commander';
import { bashScript, fishScript, zshScript } from './completion-scripts.ts';
import { type CompletionCommand, completionTree } from './completion-tree.ts';
import type { Host } from './host.ts';
import { subcommand } from './subcommand.ts';

const scripts: Record<string, (tree: readonly CompletionCommand[]) => string> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

export function addCompletion(program: Command, host: Host): void {
  subcommand(
    program,
    'completion',
    'Print a script that completes commands and options in your shell.',
    '$ source <(selvedge completion bash)\n$ selvedge completion fish > ~/.config/fish/completions/selvedge.fish',
  )
    .addArgument(new Argument('<shell>', 'which shell').choices(Object.keys(scripts)))
    .action((shell: string) => host.out(scripts[shell]?.(completionTree(program)).trimEnd() ?? ''));
}
