/* SPDX-License-Identifier: MIT
 *
 * main.c - p2pctl: options, and which command does what.
 *
 * Options stand before or behind the command; options.def has them, proto/control.def the commands,
 * and from the two tables come the parser, --help, completion, and the tests that hold the manual
 * page against both.  A command that is in the protocol but has no use on a command line (quit) has
 * no row in `handlers`.
 *
 * Exit codes: 0 done, 1 refused or failed, 2 usage, 3 the daemon cannot be reached.
 */
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "json.h"
#include "render.h"
#include "util.h"

#define LONG_ONLY 256 /* getopt's value of an option without a letter, and up */

static const struct {
	char letter;
	const char *name, *argument, *commands, *help;
} options[OPTIONS] = {
#define OPTION(id, letter, name, argument, commands, help) \
	{ letter, name, argument, commands, help },
#include "options.def"
#undef OPTION
};

static const struct {
	const char *name, *help;
} commands[] = {
#define COMMAND(name, syntax, help, min, max, where) { #name, help },
#include "control.def"
#undef COMMAND
};

/* How a command is called from a shell, and by whom it is done. */
static const struct {
	const char *name, *words;
	int min, max; /* words; -1: any number */
	int (*run)(struct ctl *ctl);
	const char *help; /* NULL: as control.def says it */
} handlers[] = {
	{ "status", "", 0, 0, show_status, NULL },
	{ "peers", "", 0, 0, show_peers, NULL },
	{ "search", "TEXT", 1, 1, show_files, NULL },
	{ "ls", "[DIRECTORY]", 0, 1, show_files, NULL },
	{ "du", "[DIRECTORY]", 0, 1, show_weights,
	  "what each part of a directory of the network's tree weighs" },
	{ "where", "NAME|ID", 1, 1, show_where, NULL },
	{ "put", "FILE...", 1, -1, change_put, "copy files of this host into the share" },
	{ "rm", "NAME...", 1, -1, change_rm, "remove files from this peer's share" },
	{ "fetch", "NAME|ID|DIRECTORY|GLOB...", 1, -1, fetch_files,
	  "fetch into the share, or with -o to elsewhere" },
	{ "fetches", "[NUMBER]", 0, 1, show_fetches, NULL },
	{ "prioritize", "NUMBER... PRIORITY", 2, -1, change_prioritize,
	  "make fetches low, normal or high, or put them in front" },
	{ "cancel", "NUMBER...", 1, -1, change_cancel, "end fetches and drop what they had" },
	{ "follow", "PATTERN", 1, 1, follows_add, NULL },
	{ "unfollow", "NUMBER|PATTERN...", 1, -1, change_unfollow, "follow that no longer" },
	{ "follows", "", 0, 0, follows_show, NULL },
	{ "watch", "", 0, 0, watch_events, "tell events as they happen, until Ctrl-C" },
	{ "limit", "[NAME RATE]", 0, 2, change_limit, NULL },
	{ "reload", "", 0, 0, change_reload, NULL },
	{ "help", "[COMMAND]", 0, 1, show_help, NULL },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void
ctl_complain(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	fputs("p2pctl: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

#define SHOWN_SIZE 2048

static char *
next_shown(void)
{
	static char texts[8][SHOWN_SIZE];
	static unsigned turn;

	return texts[turn++ % 8];
}

const char *
ctl_escape(const char *text)
{
	char *out = next_shown();

	line_escape(text != NULL ? text : "-", out, SHOWN_SIZE);
	return out;
}

const char *
ctl_sentence(const char *text)
{
	char *out = next_shown();

	render_sentence(text != NULL ? text : "-", out, SHOWN_SIZE);
	return out;
}

int
ctl_lost(const struct ctl *ctl, const char *hint)
{
	const char *why = conn_why(ctl->conn);

	ctl_complain("%s%s%s", ctl_escape(why != NULL ? why : "interrupted"),
		     hint != NULL ? "; " : "", hint != NULL ? hint : "");
	return why != NULL ? EXIT_CONNECT : EXIT_REFUSED;
}

int
ctl_refused(const struct ctl *ctl, const char *about, const struct reply *reply)
{
	const char *text = record_text(&reply->final, "text"),
		   *slug = record_text(&reply->final, "slug");

	if (ctl_has(ctl, OPT_JSON))
		json_print_reply(reply, NULL);
	ctl_complain("%s%s%s (%s)", about != NULL ? ctl_escape(about) : "",
		     about != NULL ? ": " : "", ctl_sentence(text != NULL ? text : "refused"),
		     ctl_escape(slug != NULL ? slug : "no reason"));
	return EXIT_REFUSED;
}

/* --- help --- */

static bool
takes_option(const char *command, size_t option)
{
	const char *list = options[option].commands;
	size_t len = strlen(command);

	if (list[0] == '\0')
		return true;
	for (const char *at = list; (at = strstr(at, command)) != NULL; at += len)
		if ((at == list || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
			return true;
	return false;
}

static const char *
help_of(const char *command)
{
	for (size_t i = 0; i < COUNT(handlers); i++)
		if (strcmp(handlers[i].name, command) == 0 && handlers[i].help != NULL)
			return handlers[i].help;
	for (size_t i = 0; i < COUNT(commands); i++)
		if (strcmp(commands[i].name, command) == 0)
			return commands[i].help;
	return "";
}

static int
find_handler(const char *name)
{
	for (size_t i = 0; i < COUNT(handlers); i++)
		if (strcmp(handlers[i].name, name) == 0)
			return (int)i;
	return -1;
}

static void
print_option(size_t option)
{
	char left[40], letter[8] = "    ";

	if (options[option].letter != 0)
		snprintf(letter, sizeof(letter), "-%c, ", options[option].letter);
	snprintf(left, sizeof(left), "%s--%s%s%s", letter, options[option].name,
		 options[option].argument != NULL ? " " : "",
		 options[option].argument != NULL ? options[option].argument : "");
	printf("  %-24s %s\n", left, options[option].help);
}

static void
print_help(void)
{
	puts("usage: p2pctl [option ...] command [word ...]\n\ncommands:");
	for (size_t i = 0; i < COUNT(handlers); i++) {
		char left[64];

		snprintf(left, sizeof(left), "%s %s", handlers[i].name, handlers[i].words);
		printf("  %-32s %s\n", left, help_of(handlers[i].name));
	}
	puts("\noptions of every command:");
	for (size_t i = 0; i < OPTIONS; i++)
		if (options[i].commands[0] == '\0')
			print_option(i);
	puts("\n`p2pctl help COMMAND` has the options of one command, p2pctl(1) all of it.");
}

static void
print_command_help(int handler)
{
	const char *name = handlers[handler].name;

	printf("usage: p2pctl %s%s%s [option ...]\n\n%s\n\n", name,
	       handlers[handler].words[0] != '\0' ? " " : "", handlers[handler].words,
	       help_of(name));
	for (size_t i = 0; i < OPTIONS; i++)
		if (takes_option(name, i))
			print_option(i);
}

/* Works without a daemon: the tables are here. */
int
show_help(struct ctl *ctl)
{
	if (ctl->arg_count == 0) {
		print_help();
		return EXIT_DONE;
	}
	int handler = find_handler(ctl->args[0]);
	if (handler < 0) {
		ctl_complain("there is no command \"%s\"; try p2pctl help",
			     ctl_escape(ctl->args[0]));
		return EXIT_USAGE;
	}
	print_command_help(handler);
	return EXIT_DONE;
}

/* --- completion --- */

static void
complete_options(const char *command)
{
	for (size_t i = 0; i < OPTIONS; i++) {
		if (command != NULL ? !takes_option(command, i) : options[i].commands[0] != '\0')
			continue;
		printf("--%s\n", options[i].name);
		if (options[i].letter != 0)
			printf("-%c\n", options[i].letter);
	}
}

static void
complete_limits(void)
{
#define LIMIT(symbol, name) puts(name);
#include "limit.def"
#undef LIMIT
}

/* The option that `word` is, if it takes an argument; else -1. */
static int
option_with_argument(const char *word)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (options[i].argument != NULL &&
		    ((word[0] == '-' && word[1] == options[i].letter && word[1] != '\0' &&
		      word[2] == '\0') ||
		     (strncmp(word, "--", 2) == 0 && strcmp(word + 2, options[i].name) == 0)))
			return (int)i;
	return -1;
}

/* Commands, options, or one word in capitals: FILES for a path of this host, else what is wanted.
 * The scripts know these. */
int
complete(char **words, int count)
{
	const char *command = NULL;
	int wants = -1;

	for (int i = 0; i < count; i++) {
		bool is_argument = wants >= 0;

		wants = is_argument ? -1 : option_with_argument(words[i]);
		if (!is_argument && wants < 0 && words[i][0] != '-' && command == NULL)
			command = words[i];
	}
	if (wants == OPT_SOCKET || wants == OPT_OUTPUT)
		puts("FILES");
	if (wants == OPT_PRIORITY)
		puts("low\nnormal\nhigh");
	if (wants >= 0)
		return EXIT_DONE;
	if (command == NULL || strcmp(command, "help") == 0)
		for (size_t i = 0; i < COUNT(handlers); i++)
			puts(handlers[i].name);
	complete_options(command);
	if (command != NULL && strcmp(command, "put") == 0)
		puts("FILES");
	if (command != NULL && strcmp(command, "limit") == 0)
		complete_limits();
	if (command != NULL && strcmp(command, "prioritize") == 0)
		puts("low\nnormal\nhigh\nfront");
	return EXIT_DONE;
}

/* --- options --- */

static int
usage(const char *format, const char *detail)
{
	ctl_complain(format, ctl_escape(detail));
	return EXIT_USAGE;
}

/* Fills ctl; -1 to go on, else the exit code. */
static int
parse(struct ctl *ctl, int argc, char **argv)
{
	char letters[2 * OPTIONS + 2], *at = letters;
	struct option table[OPTIONS + 1] = { 0 };
	int value;

	for (size_t i = 0; i < OPTIONS; i++) {
		table[i] = (struct option){ options[i].name, options[i].argument != NULL, NULL,
					    LONG_ONLY + (int)i };
		if (options[i].letter == 0)
			continue;
		*at++ = options[i].letter;
		if (options[i].argument != NULL)
			*at++ = ':';
	}
	strcpy(at, "R");
	while ((value = getopt_long(argc, argv, letters, table, NULL)) != -1) {
		if (value == '?')
			return EXIT_USAGE; /* getopt complained */
		/* As ls(1) has it. */
		if (value == 'R')
			value = 'r';
		for (size_t i = 0; i < OPTIONS; i++)
			if (value == LONG_ONLY + (int)i ||
			    (value < LONG_ONLY && value == options[i].letter))
				ctl->values[i] = optarg != NULL ? optarg : "";
	}
	if (optind < argc)
		ctl->command = argv[optind++];
	ctl->args = argv + optind;
	ctl->arg_count = argc - optind;
	return -1;
}

/* What search would not understand. */
static int
check_filter(const struct ctl *ctl)
{
	const char *const *values = ctl->values;
	uint64_t min, max;

	if (ctl_has(ctl, OPT_SIZE) && !filter_size(values[OPT_SIZE], &min, &max))
		return usage("--size wants MIN..MAX as 10M.. or ..4K, not \"%s\"",
			     values[OPT_SIZE]);
	if (ctl_has(ctl, OPT_NEWER) && !filter_age(values[OPT_NEWER], &min))
		return usage("--newer wants an age as 90s, 10m, 12h, 7d or 2w, not \"%s\"",
			     values[OPT_NEWER]);
	if (ctl_has(ctl, OPT_OLDER) && !filter_age(values[OPT_OLDER], &max))
		return usage("--older wants an age as 90s, 10m, 12h, 7d or 2w, not \"%s\"",
			     values[OPT_OLDER]);
	return -1;
}

/* What does not go together, or not with this command. */
static int
check(const struct ctl *ctl, int handler)
{
	uint64_t limit;

	for (size_t i = 0; i < OPTIONS; i++)
		if (ctl->values[i] != NULL && !takes_option(ctl->command, i)) {
			ctl_complain("%s takes no --%s; try p2pctl help %s", ctl->command,
				     options[i].name, ctl->command);
			return EXIT_USAGE;
		}
	if (ctl->arg_count < handlers[handler].min ||
	    (handlers[handler].max >= 0 && ctl->arg_count > handlers[handler].max)) {
		ctl_complain("usage: p2pctl %s%s%s", ctl->command,
			     handlers[handler].words[0] != '\0' ? " " : "",
			     handlers[handler].words);
		return EXIT_USAGE;
	}
	if (handlers[handler].run == change_limit && ctl->arg_count == 1)
		return usage("limit wants a rate behind \"%s\"", ctl->args[0]);
	if (ctl_has(ctl, OPT_GLOB) + ctl_has(ctl, OPT_EXACT) + ctl_has(ctl, OPT_CONTENT) > 1)
		return usage("%s, --exact and --content do not go together", "--glob");
	if (ctl_has(ctl, OPT_LIMIT) && (!util_number(ctl->values[OPT_LIMIT], &limit) || limit == 0))
		return usage("--limit wants a number of at least 1, not \"%s\"",
			     ctl->values[OPT_LIMIT]);
	if (ctl_has(ctl, OPT_AS) && (ctl->arg_count != 1 || ctl_has(ctl, OPT_RECURSIVE)))
		return usage("%s goes with one file", "--as");
	if ((ctl_has(ctl, OPT_OUTPUT) || ctl_has(ctl, OPT_ID)) && ctl->arg_count != 1)
		return usage("%s and --id go with one name", "--output");
	if (ctl_has(ctl, OPT_OUTPUT) && ctl_has(ctl, OPT_DETACH))
		return usage("%s and --detach do not go together: what lands outside of the share "
			     "ends with p2pctl",
			     "--output");
	return check_filter(ctl);
}

static int
run(struct ctl *ctl, int handler)
{
	char *socket =
	    ctl_has(ctl, OPT_SOCKET) ? util_string(ctl->values[OPT_SOCKET]) : conn_default_socket();
	int ret;

	ctl->conn = conn_open(socket, ctl_has(ctl, OPT_TRACE));
	ret = conn_why(ctl->conn) != NULL ? ctl_lost(ctl, NULL) : handlers[handler].run(ctl);
	conn_close(ctl->conn);
	free(socket);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		ctl_complain("cannot write to standard output");
		return ret == EXIT_DONE ? EXIT_REFUSED : ret;
	}
	return ret;
}

int
main(int argc, char **argv)
{
	struct ctl ctl = { .is_terminal = isatty(STDOUT_FILENO) == 1 };
	int ret;

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN); /* a closed pager is an error of writing */
	if (argc >= 2 && strcmp(argv[1], "--complete") == 0)
		return complete(argv + 2, argc - 2);
	ret = parse(&ctl, argc, argv);
	if (ret >= 0)
		return ret;
	if (ctl_has(&ctl, OPT_VERSION)) {
		puts("p2pctl " PACKAGE_VERSION);
		return EXIT_DONE;
	}
	int handler = ctl.command != NULL ? find_handler(ctl.command) : -1;
	if (ctl_has(&ctl, OPT_HELP)) {
		if (handler >= 0)
			print_command_help(handler);
		else
			print_help();
		return EXIT_DONE;
	}
	if (handler < 0)
		return usage(ctl.command != NULL ? "there is no command \"%s\"; try p2pctl help"
						 : "%s",
			     ctl.command != NULL ? ctl.command : "say a command; try p2pctl help");
	ret = check(&ctl, handler);
	if (ret >= 0)
		return ret;
	ctl.shows_progress =
	    isatty(STDERR_FILENO) == 1 && !ctl_has(&ctl, OPT_QUIET) && !ctl_has(&ctl, OPT_JSON);
	return handlers[handler].run == show_help ? show_help(&ctl) : run(&ctl, handler);
}
