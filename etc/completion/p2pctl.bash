# SPDX-License-Identifier: MIT
# bash completion of p2pctl; what can be said comes from `p2pctl --complete`, which has it from its own tables.
_p2pctl() {
	local word=${COMP_WORDS[COMP_CWORD]} list
	mapfile -t list < <(p2pctl --complete "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2> /dev/null)
	COMPREPLY=()
	if [[ " ${list[*]} " == *" FILES "* && $word != -* ]]; then
		compopt -o filenames 2> /dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
	fi
	mapfile -t COMPREPLY < <(compgen -W "${list[*]}" -- "$word")
}
complete -F _p2pctl p2pctl
