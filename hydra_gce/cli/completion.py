"""``hydra-gce completion``: what makes a shell complete verbs, options, names of sweeps and numbers of jobs."""

from __future__ import annotations

import argparse
import sys

from hydra_gce.cli.common import Verbs

_BASH = """\
# eval "$(hydra-gce completion bash)"
_hydra_gce() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}"
    COMPREPLY=()
    while IFS=$'\\t' read -r word _; do
        [ -n "$word" ] && COMPREPLY+=("$word")
    done < <(hydra-gce completion words "$line" 2>/dev/null)
    if [ "${COMPREPLY[0]}" = ":files" ]; then
        COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
        compopt -o filenames 2>/dev/null
    fi
}
complete -F _hydra_gce hydra-gce
"""
_ZSH = """\
#compdef hydra-gce
# eval "$(hydra-gce completion zsh)"
_hydra_gce() {
    local -a found
    local word said
    while IFS=$'\\t' read -r word said; do
        [[ $word == :files ]] && { _files; return }
        found+=("${word//:/\\\\:}${said:+:$said}")
    done < <(hydra-gce completion words "${(j: :)words[1,CURRENT]}" 2>/dev/null)
    _describe -V hydra-gce found
}
if [ "$funcstack[1]" = "_hydra_gce" ]; then _hydra_gce; else compdef _hydra_gce hydra-gce; fi
"""
_FISH = """\
# hydra-gce completion fish | source
function __hydra_gce_words
    set -l found (hydra-gce completion words (commandline -cp) 2>/dev/null)
    if test "$found[1]" = ":files"
        __fish_complete_path (commandline -ct)
    else
        printf '%s\\n' $found
    end
end
complete -c hydra-gce -f -k -a '(__hydra_gce_words)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("completion", help="print what makes bash, zsh or fish complete this command")
    verb.add_argument("shell", choices=(*SCRIPTS, "words"), metavar="bash|zsh|fish")
    verb.add_argument("line", nargs="?", default="", help=argparse.SUPPRESS)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.shell in SCRIPTS:
        print(SCRIPTS[options.shell], end="")
        return 0
    from hydra_gce.cli import parser
    from hydra_gce.cli.candidates import candidates
    from hydra_gce.cli.known import jobs_of, sweeps

    for word, said in candidates(parser(), options.line, sweeps, jobs_of):
        print(f"{word}\t{said}" if said else word)
    sys.stdout.flush()
    return 0
