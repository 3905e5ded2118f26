# SPDX-License-Identifier: MIT
#
# descriptors.awk - turns bytes, as od -A n -v -t x1 writes them, into a C array:
# od ... FILE | awk -v name=rpc_descriptors -f descriptors.awk
BEGIN {
	print "/* Made from protoc's descriptors by descriptors.awk. */"
	print "#include <stddef.h>"
	printf "extern const unsigned char %s[];\nextern const size_t %s_len;\n", name, name
	printf "const unsigned char %s[] = {\n", name
}
{
	gsub(/[0-9a-f][0-9a-f]/, "0x&,")
	print
}
END {
	printf "};\nconst size_t %s_len = sizeof(%s);\n", name, name
}
