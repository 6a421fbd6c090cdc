// Completion scripts of three shells, made of the tree of commands. Called by completion.ts. Pure; needs nothing but the shell itself.

import type { CompletionCommand } from './completion-tree.ts';

/** In single quotes, for all three shells. */
const quoted = (text: string): string => `'${text.replaceAll('\\', '').replaceAll("'", '')}'`;
const flagsOf = ({ options }: CompletionCommand): string[] => options.flatMap(({ flags }) => flags);
const valued = (tree: readonly CompletionCommand[]): string[] => [
  ...new Set(tree.flatMap(({ options }) => options.flatMap(({ flags, value }) => (value === undefined ? [] : flags)))),
];

/** For each kind of option value: the flags that it follows, over all commands. */
function valueCases(tree: readonly CompletionCommand[]): { flags: string[]; words: string[]; files: boolean }[] {
  const byFlag = new Map<string, { words: string[]; files: boolean }>();
  for (const { options } of tree)
    for (const { flags, value } of options) if (value !== undefined) for (const flag of flags) byFlag.set(flag, value);
  return [...byFlag].map(([flag, value]) => ({ flags: [flag], ...value }));
}

export function bashScript(tree: readonly CompletionCommand[]): string {
  const paths = tree.filter(({ path }) => path !== '').map(({ path }) => quoted(path));
  const values = valueCases(tree).map(({ flags, words, files }) => {
    const reply = files
      ? `mapfile -t COMPREPLY < <(compgen -f -- "$current")`
      : `COMPREPLY=($(compgen -W ${quoted(words.join(' '))} -- "$current"))`;
    return `    ${flags.join('|')}) ${files ? 'compopt -o filenames 2>/dev/null; ' : ''}${reply}; return ;;`;
  });
  const commands = tree.map((command) => {
    const words = [...command.subcommands.map(({ name }) => name), ...command.words].join(' ');
    const options = flagsOf(command).join(' ');
    return `    ${quoted(command.path)}) words=${quoted(words)} options=${quoted(options)} files=${command.files ? 'yes' : ''} ;;`;
  });
  return `# bash completion of selvedge; install it with: selvedge completion bash > /etc/bash_completion.d/selvedge
_selvedge() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  local path='' word next index words='' options='' files=''
  COMPREPLY=()
  # Bash breaks words at =: --output=json comes as three.
  if [[ $current == = ]]; then current=''; elif [[ $previous == = ]]; then previous="\${COMP_WORDS[COMP_CWORD-2]}"; fi
  case "$previous" in
${values.join('\n')}
  esac
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    case "$word" in
      ${valued(tree).join('|')}) ((index++)) ;;
      -*) ;;
      *)
        next="\${path:+$path }$word"
        case "$next" in ${paths.join('|')}) path="$next" ;; esac
        ;;
    esac
  done
  case "$path" in
${commands.join('\n')}
  esac
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  else
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    if [[ -n $files ]]; then
      compopt -o filenames 2>/dev/null
      mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
    fi
  fi
  return 0
}
complete -F _selvedge selvedge
`;
}

export function zshScript(tree: readonly CompletionCommand[]): string {
  const described = (name: string, description: string): string =>
    quoted(`${name.replaceAll(':', '\\:')}:${description}`);
  const paths = tree.filter(({ path }) => path !== '').map(({ path }) => quoted(path));
  const values = valueCases(tree).map(
    ({ flags, words, files }) =>
      `    ${flags.join('|')}) ${files ? '_files' : words.length === 0 ? ':' : `compadd -- ${words.join(' ')}`}; return ;;`,
  );
  const commands = tree.map((command) => {
    const words = [
      ...command.subcommands.map(({ name, description }) => described(name, description)),
      ...command.words.map(quoted),
    ];
    const options = command.options.flatMap(({ flags, description }) =>
      flags.map((flag) => described(flag, description)),
    );
    return `    ${quoted(command.path)}) words_here=(${words.join(' ')}); options_here=(${options.join(' ')}); files_here=${command.files ? 'yes' : ''} ;;`;
  });
  return `#compdef selvedge
# zsh completion of selvedge; put it into a folder of $fpath as _selvedge, or: source <(selvedge completion zsh)
_selvedge() {
  local path_here='' word next index previous="\${words[CURRENT-1]}" files_here=''
  local -a words_here options_here
  case "$previous" in
${values.join('\n')}
  esac
  for ((index = 2; index < CURRENT; index++)); do
    word="\${words[index]}"
    case "$word" in
      ${valued(tree).join('|')}) ((index++)) ;;
      -*) ;;
      *)
        next="\${path_here:+$path_here }$word"
        case "$next" in ${paths.join('|')}) path_here="$next" ;; esac
        ;;
    esac
  done
  case "$path_here" in
${commands.join('\n')}
  esac
  if [[ "\${words[CURRENT]}" == -* ]]; then
    _describe -o option options_here
  else
    (( \${#words_here} )) && _describe command words_here
    [[ -n "$files_here" ]] && _files
  fi
  return 0
}
if [[ "\${funcstack[1]}" == _selvedge ]]; then _selvedge "$@"; else compdef _selvedge selvedge; fi
`;
}

export function fishScript(tree: readonly CompletionCommand[]): string {
  const lines = tree.flatMap(({ path, subcommands, options, files, words }) => {
    const here = `-n ${quoted(`__selvedge_at "${path}"`)}`;
    return [
      ...subcommands.map(
        ({ name, description }) => `complete -c selvedge -f ${here} -a ${quoted(name)} -d ${quoted(description)}`,
      ),
      ...(words.length === 0 ? [] : [`complete -c selvedge -f ${here} -a ${quoted(words.join(' '))}`]),
      ...(files ? [`complete -c selvedge -F ${here}`] : []),
      ...options.map(({ flags, description, value }) => {
        const names = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
        const follows =
          value === undefined
            ? ''
            : value.files
              ? ' -r -F'
              : ` -x${value.words.length === 0 ? '' : ` -a ${quoted(value.words.join(' '))}`}`;
        return `complete -c selvedge ${here} ${names.join(' ')}${follows} -d ${quoted(description)}`;
      }),
    ];
  });
  const paths = tree.filter(({ path }) => path !== '').map(({ path }) => quoted(path));
  return `# fish completion of selvedge; install it with: selvedge completion fish > ~/.config/fish/completions/selvedge.fish
function __selvedge_at
  set -l words (commandline -opc)
  set -l path ''
  set -l skip no
  for word in $words[2..-1]
    if test $skip = yes
      set skip no
      continue
    end
    switch $word
      case ${valued(tree).join(' ')}
        set skip yes
      case '-*'
      case '*'
        set -l next (string trim -- "$path $word")
        contains -- $next ${paths.join(' ')}; and set path $next
    end
  end
  test "$path" = "$argv[1]"
end
complete -c selvedge -f
${lines.join('\n')}
`;
}
