/* SPDX-License-Identifier: MIT
 *
 * directory.h - what is told of the directories of a share, to who made the same ones.
 *
 * The catalog knows of files only.  Whoever fetched a tree asks a holder of it for the attributes of the directories that it made, once all
 * files are there.  Nothing depends on the answer: it is neither verified nor needed.
 */
#ifndef P2PD_DIRECTORY_H
#define P2PD_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIRECTORIES_MAX		1000	/* of one question */
#define DIRECTORY_MODE_MAX	0777	/* permission bits; no others are told */

struct directory {
	bool is_there;			/* if not, the rest is zero */
	int64_t mtime_ns;		/* since 1970; 0: not known */
	uint32_t mode;			/* DIRECTORY_MODE_MAX at most */
};

/* What is asked, and room for the answer. */
struct directory_question {
	const char *const *names;	/* in the share; borrowed */
	size_t count;			/* 1 to DIRECTORIES_MAX */
	struct directory *found;	/* beside names[]; borrowed; means nothing before the question was answered with P2P_OK */
};

#endif
