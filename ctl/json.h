/* SPDX-License-Identifier: MIT
 *
 * json.h - records of the control protocol as JSON, on standard output.
 */
#ifndef P2PCTL_JSON_H
#define P2PCTL_JSON_H

#include "conn.h"

/*
 * One document of a whole reply: an object with the pairs of the final line, an object for each kind of record that stands once
 * in a reply ("node", "share" ...), and an array for each that may repeat ("peers", "files" ...), which is there
 * though empty if `always` names it (divided by blanks; NULL: none).  An error's final line becomes the member "error".
 */
void	json_print_reply(const struct reply *reply, const char *always);
/* One line of an event: its pairs, with "event" and "code". */
void	json_print_event(const struct record *event);

#endif
