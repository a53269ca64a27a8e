# fish completion for accountd. The program itself lists the candidates.
function __accountd_complete
    set -l current (commandline -ct)
    set -l option (string match -r -- '^--[^=]+=' $current)
    set -l path (string replace -r -- '^--[^=]+=' '' $current)
    set -l answer (command accountd complete (commandline -opc)[2..-1] "$current" 2>/dev/null)
    switch "$answer[1]"
        case :files
            string replace -r -- '^' "$option" (__fish_complete_path "$path")
        case :folders
            string replace -r -- '^' "$option" (__fish_complete_directories "$path")
        case '*'
            string join -- \n $answer
    end
end
complete -c accountd -f -a '(__accountd_complete)'
