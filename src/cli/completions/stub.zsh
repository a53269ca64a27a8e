#compdef accountd
# zsh completion for accountd. The program itself lists the candidates.
_accountd() {
    local -a answer
    answer=(${(f)"$(command accountd complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)"})
    [[ $PREFIX != --*=* ]] || compset -P '*='
    case $answer[1] in
    (:files) _files ;;
    (:folders) _directories ;;
    (*) answer=(${answer/$'\t'/:}) && _describe accountd answer ;;
    esac
}
if [[ $funcstack[1] == _accountd ]]; then _accountd "$@"; else compdef _accountd accountd; fi
