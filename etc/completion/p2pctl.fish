# SPDX-License-Identifier: MIT
# fish completion of p2pctl; what can be said comes from `p2pctl --complete`, which has it from its own tables.
function __p2pctl_list
	set -l words (commandline -opc)
	p2pctl --complete $words[2..-1] 2> /dev/null
end
complete -c p2pctl -f
complete -c p2pctl -n 'not contains FILES (__p2pctl_list)' -a '(__p2pctl_list)'
complete -c p2pctl -n 'contains FILES (__p2pctl_list)' -F -a '(__p2pctl_list | string match -v FILES)'
