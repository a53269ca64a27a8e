# bash completion for accountd. The program itself lists the candidates.
_accountd() {
    local current=${COMP_WORDS[COMP_CWORD]}
    mapfile -t COMPREPLY < <(command accountd complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    # Bash takes the "=" in --data=DIR and the ":" in id:7 for words.
    [[ $current != [:=]* ]] || current=
    case ${COMPREPLY[0]-} in
    :files) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    :folders) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    *) COMPREPLY=("${COMPREPLY[@]%%$'\t'*}") ;;
    esac
}
complete -F _accountd accountd
