/* SPDX-License-Identifier: MIT
 *
 * catalog_load.c - a large catalog for the benchmarks, and what searches of it take:
 *
 *	catalog_load fill STATE SELF ENTRIES PEERS NAMES	fills STATE/catalog.db of peer SELF with the files of PEERS others, through the
 *						catalog's own interface; prints entries, names, bytes on disk, peak resident KiB, seconds
 *	catalog_load own STATE SELF ENTRIES PEER NAMES	the same with files that SELF has itself, as the PEER-th of such peers;
 *						their share is another file system that is not there
 *	catalog_load control SOCKET COUNT LINE...	asks each LINE, a control request, COUNT times on one connection
 *	catalog_load rest PORT COUNT TARGET...		the same with GET TARGET, on one connection to loopback
 *
 * The last two print a line a question: median, 99th percentile and longest in milliseconds, bytes of the answer,
 * the question.
 *
 * Names are as people give them: deep trees of few words and many numbers, cameras' counters, sources, other scripts.  Peers
 * share many of them: each has ENTRIES / PEERS names drawn from the same NAMES.  All is drawn from a fixed seed.
 * A tool for the benchmarks, so every failure just ends it with 1.
 */
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "catalog.h"
#include "clock.h"
#include "loop.h"

#define NS_PER_DAY	86400000000000ll
#define NOW_NS		1700000000000000000ll	/* about when the newest file was written */
#define STEP		10007			/* through a peer's range, so that neighbours come far from one another */
#define NOWHERE		0xffffffffull		/* a device that no share is on */
#define IN_FLIGHT	8			/* pages that wait for the scribe at the same time */
#define ANSWER_MAX	(8u << 20)

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("catalog_load: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static double
now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- names --- */

/* SplitMix64: the n-th number is known without those before it. */
static uint64_t
scramble(uint64_t n)
{
	n += 0x9e3779b97f4a7c15ull;
	n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9ull;
	n = (n ^ (n >> 27)) * 0x94d049bb133111ebull;
	return n ^ (n >> 31);
}

static uint64_t
draw(uint64_t *state, uint64_t below)
{
	return (*state = scramble(*state)) % below;
}

static const char *const words[] = {
	"report", "summary", "final", "draft", "invoice", "contract", "budget", "meeting", "notes",
	"project", "holiday", "family", "Müller", "Zürich", "Straße", "résumé", "backup", "archive",
	"release", "build", "kernel", "driver", "network", "include", "module", "test", "fixture",
	"sample", "dataset", "training", "image", "label", "mask", "frame", "video", "audio", "track",
	"album", "artist", "live", "remaster", "session", "lecture", "chapter", "appendix", "figure",
	"table", "result", "experiment", "sensor", "temperature", "pressure", "log", "trace", "dump",
	"config", "script", "template", "theme", "icon", "font", "locale", "translation", "写真",
	"音楽", "報告書", "旅行", "документ", "отчёт", "фото", "музыка", "αρχείο", "εικόνα",
};
static const char *const people[] = {
	"anna", "bernd", "chiara", "dmitri", "elif", "françois", "grete", "hiroshi", "ines", "jörg",
	"katarzyna", "liam", "mariya", "noor", "ola", "pavel", "quentin", "rosa", "søren", "tomás",
};
static const char *const suffixes[] = {
	"pdf", "odt", "txt", "csv", "json", "tar.gz", "zip", "mp3", "flac", "mkv", "c", "h", "py", "xml",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *
word(uint64_t *state)
{
	return words[draw(state, COUNT(words))];
}

static void
name_photo(uint64_t n, uint64_t *state, char *ret)
{
	unsigned year = 2005 + (unsigned)draw(state, 20), month = 1 + (unsigned)draw(state, 12);

	snprintf(ret, NAME_SIZE, "home/%s/Pictures/%u/%02u %s/IMG_%u%02u%02u_%06llu.jpg",
	    people[draw(state, COUNT(people))], year, month, word(state), year, month,
	    1 + (unsigned)draw(state, 28), (unsigned long long)n);
}

static void
name_document(uint64_t n, uint64_t *state, char *ret)
{
	const char *who = people[draw(state, COUNT(people))], *topic = word(state);

	snprintf(ret, NAME_SIZE, "home/%s/Documents/%s %u/%s-%s_%s-v%u (%llu).%s", who, topic,
	    2005 + (unsigned)draw(state, 20), word(state), topic, word(state), (unsigned)draw(state, 9),
	    (unsigned long long)n, suffixes[draw(state, COUNT(suffixes))]);
}

static void
name_source(uint64_t n, uint64_t *state, char *ret)
{
	snprintf(ret, NAME_SIZE, "src/%s-%u.%u/%s/%s/%s_%s%llu.%s", word(state), (unsigned)draw(state, 6),
	    (unsigned)draw(state, 30), word(state), word(state), word(state), word(state),
	    (unsigned long long)n, suffixes[draw(state, COUNT(suffixes))]);
}

static void
name_data(uint64_t n, uint64_t *state, char *ret)
{
	snprintf(ret, NAME_SIZE, "data/%s/%s/%05llu/%016llx.%s", word(state), word(state),
	    (unsigned long long)(n / 100), (unsigned long long)scramble(n),
	    suffixes[draw(state, COUNT(suffixes))]);
}

/* The n-th name, into ret[NAME_SIZE]. */
static void
make_name(uint64_t n, char *ret)
{
	static void (*const kinds[])(uint64_t, uint64_t *, char *) = { name_photo, name_document,
		name_source, name_data };
	uint64_t state = scramble(n);

	kinds[draw(&state, COUNT(kinds))](n, &state, ret);
}

/* --- fill --- */

struct filler {
	struct loop *loop;
	struct catalog *catalog;
	unsigned in_flight;
};

static void
page_done(void *arg, int code)
{
	struct filler *filler = arg;

	filler->in_flight--;
	if (code != 0)
		die("a page was refused with %d", code);
}

/* The seq-th of `count` changes of one peer; its name into name[NAME_SIZE]. */
static struct change
make_change(unsigned peer, uint64_t seq, uint64_t count, uint64_t names, char *name)
{
	/* Peers have ranges of names one behind the other, and begin anew when these are used up. */
	uint64_t n = ((peer - 1) * count + seq * STEP % count) % names;
	struct change change = { .seq = seq, .name = name, .mode = 0644 };

	make_name(n, name);
	hasher_digest(hasher_mine(), &n, sizeof(n), &change.content.root);
	change.content.size_bytes = 1 + scramble(n) % (1ull << (10 + n % 20));
	change.mtime_ns = NOW_NS - (int64_t)(n % 3000) * NS_PER_DAY;
	return change;
}

/* Changes [seq, seq + CHANGE_PAGE_MAX) of one peer, but no more than `count` in all. */
static struct change_page *
make_page(unsigned peer, uint64_t seq, uint64_t count, uint64_t names)
{
	struct change_page *page = change_page_new();
	struct digest key;
	char name[NAME_SIZE];

	hasher_digest(hasher_mine(), &peer, sizeof(peer), &key);
	digest_base32(&key, page->peer);
	page->epoch = 1;
	page->since = seq - 1;
	page->head = page->file_count = count;
	for (; seq <= count && page->count < CHANGE_PAGE_MAX; seq++) {
		struct change change = make_change(peer, seq, count, names, name);

		change_page_add(page, &change);
		page->through = seq;
	}
	return page;
}

static long
peak_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static void
give(struct filler *filler, struct catalog_batch *batch)
{
	filler->in_flight++;
	catalog_submit(filler->catalog, batch, page_done, filler);
	while (filler->in_flight >= IN_FLIGHT)
		loop_turn(filler->loop, 100);
}

/* What others told. */
static void
give_all(struct filler *filler, uint64_t entries, uint64_t peers, uint64_t names)
{
	for (uint64_t seq = 1; seq <= entries / peers; seq += CHANGE_PAGE_MAX)
		for (unsigned peer = 1; peer <= peers; peer++) {
			struct catalog_batch *batch = catalog_batch_new();

			catalog_batch_page(batch, make_page(peer, seq, entries / peers, names));
			give(filler, batch);
		}
}

/* What it has itself. */
static void
give_own(struct filler *filler, uint64_t entries, uint64_t peer, uint64_t names)
{
	char name[NAME_SIZE];

	for (uint64_t seq = 1; seq <= entries;) {
		struct catalog_batch *batch = catalog_batch_new();

		for (; seq <= entries && catalog_batch_size(batch) < CHANGE_PAGE_MAX; seq++) {
			struct change change = make_change((unsigned)peer, seq, entries, names, name);
			struct catalog_local file = { .content = change.content,
				.mtime_ns = change.mtime_ns,
				.mode = change.mode,
				.sig = { .size_bytes = change.content.size_bytes,
					.mtime_ns = change.mtime_ns,
					.ctime_ns = change.mtime_ns,
					.device = NOWHERE,
					.inode = seq } };

			catalog_batch_put(batch, name, &file, NULL, 0);
		}
		give(filler, batch);
	}
}

static int
fill(char **args, void (*give_them)(struct filler *filler, uint64_t entries, uint64_t peer, uint64_t names))
{
	uint64_t entries = strtoull(args[2], NULL, 10), peers = strtoull(args[3], NULL, 10),
		 names = strtoull(args[4], NULL, 10);
	struct filler filler = { .loop = loop_new(NULL) };
	struct error err = { 0 };
	double begin_s = now_s();

	if (peers == 0 || names == 0)
		die("wanted some peers and some names");
	filler.catalog = catalog_new(filler.loop, args[0], args[1], NULL, &err);
	if (filler.catalog == NULL)
		die("%s", err.text);
	give_them(&filler, entries, peers, names);
	while (filler.in_flight > 0)
		loop_turn(filler.loop, 100);
	double took_s = now_s() - begin_s;
	catalog_free(filler.catalog);
	loop_free(filler.loop);

	char path[4096];
	struct stat st;
	snprintf(path, sizeof(path), "%s/catalog.db", args[0]);
	if (stat(path, &st) != 0)
		die("there is no %s", path);
	printf("%llu %llu %lld %ld %.2f\n", (unsigned long long)entries, (unsigned long long)names,
	    (long long)st.st_size, peak_kib(), took_s);
	return 0;
}

/* --- ask --- */

static char answer[ANSWER_MAX];
static size_t answer_len;

static void
send_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);

		if (sent <= 0)
			die("cannot send");
		text += sent;
		len -= (size_t)sent;
	}
}

/* Reads more of the answer, with a NUL behind it. */
static void
read_more(int fd)
{
	ssize_t got = recv(fd, answer + answer_len, sizeof(answer) - 1 - answer_len, 0);

	if (got <= 0)
		die("the daemon went away, or says too much");
	answer_len += (size_t)got;
	answer[answer_len] = '\0';
}

/* A reply ends with a line that has a blank behind its code. */
static void
read_reply(int fd)
{
	size_t line = 0;

	for (answer_len = 0;;) {
		char *end = answer_len > line ? memchr(answer + line, '\n', answer_len - line) : NULL;

		if (end == NULL) {
			read_more(fd);
		} else {
			if (answer[line + 3] == ' ')
				return;
			line = (size_t)(end - answer) + 1;
		}
	}
}

static void
read_response(int fd)
{
	static const char field[] = "Content-Length: ";
	char *body;

	for (answer_len = 0, answer[0] = '\0'; (body = strstr(answer, "\r\n\r\n")) == NULL;)
		read_more(fd);
	const char *length = strcasestr(answer, field);
	if (length == NULL || length > body)
		die("an answer without a length: %s", answer);
	size_t whole = (size_t)(body + 4 - answer) + strtoull(length + strlen(field), NULL, 10);
	while (answer_len < whole)
		read_more(fd);
}

static int
open_control(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		die("cannot connect to %s", path);
	read_reply(fd);
	return fd;
}

static int
open_rest(const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)strtoul(port, NULL, 10)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		die("cannot connect to port %s", port);
	return fd;
}

static int
compare_times(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int
ask(char **args, int count, bool is_rest)
{
	int fd = is_rest ? open_rest(args[0]) : open_control(args[0]);
	size_t times = strtoull(args[1], NULL, 10);
	double *took_ms = calloc(times + 1, sizeof(*took_ms));
	char line[8192];

	for (int i = 2; i < count; i++) {
		int len = is_rest ? snprintf(line, sizeof(line), "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\n\r\n",
				args[i], args[0])
				  : snprintf(line, sizeof(line), "%s\n", args[i]);

		for (size_t n = 0; n < times; n++) {
			double begin_s = now_s();

			send_all(fd, line, (size_t)len);
			if (is_rest)
				read_response(fd);
			else
				read_reply(fd);
			took_ms[n] = (now_s() - begin_s) * 1e3;
			/* "HTTP/1.1 200" or "200". */
			if (strncmp(answer + (is_rest ? strlen("HTTP/1.1 ") : 0), "200", 3) != 0)
				die("%s: %.300s", args[i], answer);
		}
		qsort(took_ms, times, sizeof(*took_ms), compare_times);
		printf("%.3f\t%.3f\t%.3f\t%zu\t%s\n", took_ms[times / 2], took_ms[times * 99 / 100],
		    took_ms[times - 1], answer_len, args[i]);
	}
	free(took_ms);
	close(fd);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 7 && strcmp(argv[1], "fill") == 0)
		return fill(argv + 2, give_all);
	if (argc == 7 && strcmp(argv[1], "own") == 0)
		return fill(argv + 2, give_own);
	if (argc > 4 && strcmp(argv[1], "control") == 0)
		return ask(argv + 2, argc - 2, false);
	if (argc > 4 && strcmp(argv[1], "rest") == 0)
		return ask(argv + 2, argc - 2, true);
	die("usage: fill STATE SELF ENTRIES PEERS NAMES | own STATE SELF ENTRIES PEER NAMES | control SOCKET COUNT LINE... | rest PORT COUNT TARGET...");
}
