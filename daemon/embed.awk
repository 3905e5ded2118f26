# SPDX-License-Identifier: MIT
#
# embed.awk - turns a text file into a C string: awk -v name=rest_openapi_text -f embed.awk openapi.json > openapi.c
BEGIN {
	printf "/* Made from a file by embed.awk. */\nextern const char %s[];\nconst char %s[] =\n", name, name
}
{
	gsub(/\\/, "\\\\")
	gsub(/"/, "\\\"")
	printf "\t\"%s\\n\"\n", $0
}
END {
	print ";"
}
