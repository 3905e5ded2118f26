# SPDX-License-Identifier: MIT
#
# table.awk - rows and samples to one aligned table, and to the file `tsv`.

BEGIN {
	OFS = "\t"
	FS = "\t"
	print_row("what", "ours", "reference", "ratio", "bar", "aim", "verdict", "noise (min-max)")
	print "what\tours_is\treference_is\tunit\tours\treference\tratio\tmin\tmax\tbar\taim\tverdict\trounds" >>tsv
}

function sort_numbers(list, count,    i, j, value) {
	for (i = 2; i <= count; i++) {
		value = list[i]
		for (j = i - 1; j >= 1 && list[j] > value; j--)
			list[j + 1] = list[j]
		list[j + 1] = value
	}
}
function median(list, count) {
	sort_numbers(list, count)
	return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
}
function meets(value, sense, limit) { return sense == "<=" ? value <= limit : value >= limit }
function figure(value) { return sprintf(value >= 1000 ? "%.0f" : "%.4g", value) }
function print_row(what, ours, reference, ratio, bar, aim, verdict, noise) {
	printf "%-34s  %12s  %12s  %7s  %8s  %8s  %-8s  %s\n", what, ours, reference, ratio, bar, aim, verdict, noise
}

NF < 8 {
	print_row($1, $2, "", "", "", "", "", "")
	print $1 "\t" $2 >>tsv
	next
}
{
	count = 0
	all = ""
	has_reference = 0
	while ((getline line < $8) > 0) {
		split(line, pair, " ")
		count++
		ours[count] = pair[1] + 0
		theirs[count] = pair[2] + 0
		has_reference = pair[2] != "-"
		ratios[count] = has_reference ? pair[1] / pair[2] : pair[1] + 0
		all = all (count > 1 ? ";" : "") pair[1] "/" pair[2]
	}
	close($8)
	value = median(ratios, count)
	verdict = !meets(value, $5, $6) ? "missed" : meets(value, $5, $7) ? "met, aim" : "met"
	unit = $4 == "" ? "" : " " $4
	our = figure(median(ours, count)) unit
	their = has_reference ? figure(median(theirs, count)) unit : "-"
	print_row($1, our, their, has_reference ? sprintf("%.2f", value) : "-", $5 " " $6, $5 " " $7, verdict,
	    sprintf("%.3g-%.3g", ratios[1], ratios[count]))
	print $1, $2, $3, $4, our + 0, has_reference ? their + 0 : "-", value, ratios[1], ratios[count], $5 $6, $5 $7, verdict, all >>tsv
}
