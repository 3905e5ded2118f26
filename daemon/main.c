/* SPDX-License-Identifier: MIT
 *
 * main.c - p2pd: options, configuration, signals, one daemon.
 *
 * Everything else is a library.  Exit status: 0 after an orderly stop, 1 if the daemon could not start, 2 for wrong usage.
 */
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "config.h"
#include "daemon.h"
#include "log.h"

static const char usage[] =
    "usage: p2pd [-c FILE] [-t] [-v]\n"
    "\n"
    "Shares files with other peers; p2pctl controls it.  Runs in the foreground.\n"
    "\n"
    "  -c, --config FILE   read this configuration file (default: %s)\n"
    "  -t, --test          check the configuration and exit\n"
    "  -v, --verbose       log debugging messages too\n"
    "      --keys          list every configuration key with its default\n"
    "  -h, --help          show this help\n"
    "  -V, --version       show the version\n"
    "\n"
    "Without a configuration file p2pd works with its defaults, on loopback.\n"
    "See p2pd(8), p2pd.conf(5) and p2pctl(1).\n";

struct options {
	const char *path;
	bool is_test, is_verbose;
};

static void
print_keys(void)
{
	struct config_key key;
	const char *section = "";
	for (size_t i = 0; config_key(i, &key); i++) {
		if (strcmp(section, key.section) != 0)
			printf("%s[%s]\n", i ? "\n" : "", key.section);
		section = key.section;
		printf("%s = %s\n\t%s%s%s\n\t%s\n", key.key, key.fallback, key.value,
		    key.is_list ? "; one line each" : "",
		    key.is_reloadable ? "; reloadable" : "", key.help);
	}
}

/* Ends the process where there is nothing more to do. */
static struct options
parse_options(int argc, char **argv, const char *default_path)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "test", no_argument, NULL, 't' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "keys", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	struct options options = { 0 };
	for (int option; (option = getopt_long(argc, argv, "c:tvhV", longs, NULL)) != -1;) {
		switch (option) {
		case 'c':
			options.path = optarg;
			break;
		case 't':
			options.is_test = true;
			break;
		case 'v':
			options.is_verbose = true;
			break;
		case 'k':
			print_keys();
			exit(0);
		case 'h':
			printf(usage, default_path);
			exit(0);
		case 'V':
			printf("p2pd %s\n", PACKAGE_VERSION);
			exit(0);
		default:
			fprintf(stderr, "Try \"p2pd --help\".\n");
			exit(2);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "p2pd: \"%s\" is one argument too many\nTry \"p2pd --help\".\n",
		    argv[optind]);
		exit(2);
	}
	return options;
}

/* A limit on descriptors that is too low would be felt only under load. */
static void
raise_limits(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	/* Many threads, each with little on the heap: an arena for each would only cost memory. */
	mallopt(M_ARENA_MAX, 2);
	/* gRPC gets and frees a block for each message: from the heap, not as a mapping whose
	 * pages are made anew each time. */
	mallopt(M_MMAP_THRESHOLD, 4 << 20);
	mallopt(M_TRIM_THRESHOLD, 32 << 20);
}

static void
on_stop(void *arg)
{
	daemon_stop(arg);
}

static void
on_reload(void *arg)
{
	daemon_reload(arg);
}

static void
run(struct daemon *daemon)
{
	struct loop *loop = daemon_loop(daemon);
	struct loop_signal *signals[] = {
		loop_signal_new(loop, SIGTERM, on_stop, daemon),
		loop_signal_new(loop, SIGINT, on_stop, daemon),
		loop_signal_new(loop, SIGHUP, on_reload, daemon),
	};
	daemon_run(daemon);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		loop_signal_free(signals[i]);
}

int
main(int argc, char **argv)
{
	int status = 1;
	char *default_path = config_default_path();
	struct options options = parse_options(argc, argv, default_path);

	log_open(options.is_verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	struct error err;
	struct config *config =
	    options.path != NULL ? config_load(options.path, &err) : config_load_usual(&err);
	if (config == NULL) {
		log_error("%s", err.text);
		goto out;
	}
	status = 0;
	if (options.is_test) {
		printf("%s: the configuration is good\n",
		    config->source ? config->source : "no file, all defaults");
		goto out;
	}
	if (!options.is_verbose)
		log_open(config->node_log);
	raise_limits();
	struct daemon *daemon = daemon_new(options.path, config, &err);
	if (daemon != NULL) {
		run(daemon);
		daemon_free(daemon);
		log_info("stopped");
	} else {
		log_error("%s", err.text);
		status = 1;
	}
out:
	config_unref(config);
	free(default_path);
	return status;
}
