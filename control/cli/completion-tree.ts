// What can be typed, read from commander's tree: commands, their options and values. Called by completion.ts. Pure.

import type { Command, Option } from 'commander';

export interface CompletionOption {
  /** `--output`, and `-o` where there is one. */
  flags: string[];
  description: string;
  /** Undefined for a flag without a value; otherwise what may follow it: words, a file, or anything (an empty list). */
  value: { words: string[]; files: boolean } | undefined;
}

export interface CompletionCommand {
  /** Words after `selvedge`: `nodes describe`. */
  path: string;
  subcommands: { name: string; description: string }[];
  options: CompletionOption[];
  /** Its arguments are files. */
  files: boolean;
  /** Words that its first argument may be. */
  words: string[];
}

const takesFile = /<(file|folder)>/;

function optionOf(option: Option): CompletionOption {
  const flags = [option.long, option.short].filter((flag) => flag !== undefined && flag !== null);
  const hasValue = option.required || option.optional;
  const value = hasValue ? { words: [...(option.argChoices ?? [])], files: takesFile.test(option.flags) } : undefined;
  return { flags, description: option.description, value };
}

/** Every command of the program, itself first with an empty path. Hidden options are left out. */
export function completionTree(program: Command): CompletionCommand[] {
  const global = program.options.filter(({ hidden, long }) => !hidden && long !== '--version').map(optionOf);
  const visit = (command: Command, path: string): CompletionCommand[] => {
    const own = command === program ? program.options : command.options;
    const help: CompletionOption = { flags: ['--help', '-h'], description: 'show help', value: undefined };
    const options = own.filter(({ hidden }) => !hidden).map(optionOf);
    const names = command.commands.map((sub) => ({ name: sub.name(), description: sub.description() }));
    return [
      {
        path,
        subcommands: names,
        options: [...options, ...(command === program ? [] : global), help],
        files: command.registeredArguments.some((argument) => /file/.test(argument.name())),
        words: [...(command.registeredArguments[0]?.argChoices ?? [])],
      },
      ...command.commands.flatMap((sub) => visit(sub, path === '' ? sub.name() : `${path} ${sub.name()}`)),
    ];
  };
  return visit(program, '');
}
