/* SPDX-License-Identifier: MIT
 *
 * catalog_open.c - the file: connections, whether it can be trusted, setting aside, beginning anew.
 *
 * WAL mode with synchronous=FULL: a commit that was answered is on the disk, so a seq that others
 * heard of is never given to another change, not even by a power cut.  What that costs, one sync a
 * transaction, the scribe spreads over all batches that wait together.
 *
 * The whole file can be rebuilt from the share and from the other peers; so one that cannot be
 * trusted is never repaired but set aside under another name, and a new one begun.  Not to be
 * trusted is a file
 *  - that SQLite, its application id, its version, its owner or its tables say is not ours (one of an
 * earlier version is brought up to date instead);
 *  - that was not closed and has lost its write-ahead log, or the log its header: what was
 * committed may be gone;
 *  - that fails a check of its structure: all of it when it is small or was not closed, only the
 * small tables of a large one that was closed well, which would take seconds at every start;
 *  - that some statement found corrupt while we ran: a mark beside it says so to the next start.
 * What a disk or a full file system refuses is no damage: then opening fails and the file stays.
 *
 * Caches of readers are small on purpose (the kernel caches the file anyway), and nothing is
 * mapped.
 */
#include "catalog_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

#define APPLICATION_ID 0x70327064 /* "p2pd", for file(1) */
#define BUSY_MS        5000
#define RECORD_MAX     (16 << 20) /* bytes of one value; a layer takes 8 MiB at most */
/* The check takes about 2.5 ms a MiB. */
#define CHECK_CLOSED_BYTES  (32ll << 20)  /* files up to here are checked at every start */
#define CHECK_UNCLEAN_BYTES (512ll << 20) /* ... up to here after they were not closed */
#define WAL_HEADER_BYTES    32

/* Both kinds of connections. */
static const char settings[] = "PRAGMA mmap_size=0; PRAGMA cell_size_check=ON;"
			       "PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY;";
static const char reader_settings[] = "PRAGMA cache_size=-2048;";
/*
 * The scribe's cache holds what a large catalog has of its names while that comes in, and is let go
 * when it rests.  The log is folded back every 64 MiB: a page that many commits wrote is brought
 * home once.  It is cut to 4 MiB afterwards, also when a long reader had let it grow.
 */
static const char writer_settings[] = "PRAGMA cache_size=-65536; PRAGMA journal_mode=WAL;"
				      "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=16384;"
				      "PRAGMA journal_size_limit=4194304;";

/* --- connections --- */

static void
configure_once(void)
{
	/* Otherwise every allocation of every reader takes one lock, only to be counted. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

/* Always gives a connection, whose handle may be NULL; answers what SQLite said. */
static int
open_handle(struct db_site *site, int flags, const char *more_settings, struct db **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, configure_once);

	struct db *db = mem_zero(1, sizeof(*db));
	db->site = site;
	*ret = db;
	int rc = sqlite3_open_v2(site->path, &db->handle,
				 flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	if (rc != SQLITE_OK)
		return rc;
	sqlite3_busy_timeout(db->handle, BUSY_MS);
	sqlite3_limit(db->handle, SQLITE_LIMIT_LENGTH, RECORD_MAX);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	rc = sqlite3_exec(db->handle, settings, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db->handle, more_settings, NULL, NULL, NULL);
	return rc;
}

void
db_close(struct db *db)
{
	if (db == NULL)
		return;
	for (int i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(db->stmts[i]);
	sqlite3_close(db->handle);
	free(db);
}

struct db *
db_open_reader(struct db_site *site)
{
	struct db *db;
	int rc = open_handle(site, SQLITE_OPEN_READONLY, reader_settings, &db);
	if (rc == SQLITE_OK)
		return db;
	log_debug("cannot open the catalog for reading: %s", sqlite3_errstr(rc));
	db_close(db);
	return NULL;
}

/* --- is it ours, is it whole? --- */

enum wal_state { WAL_NONE, WAL_GOOD, WAL_GARBAGE };

static enum wal_state
look_at_wal(const struct db_site *site)
{
	char *path = mem_format("%s-wal", site->path);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	free(path);
	if (fd < 0)
		return WAL_NONE;
	unsigned char header[WAL_HEADER_BYTES];
	ssize_t got = read(fd, header, sizeof(header));
	close(fd);
	if (got == 0)
		return WAL_NONE;
	/* 0x377f0682 or ...83, whatever the byte order of the checksums. */
	bool good = got == WAL_HEADER_BYTES && memcmp(header, "\x37\x7f\x06", 3) == 0 &&
		    (header[3] & 0xfe) == 0x82;
	return good ? WAL_GOOD : WAL_GARBAGE;
}

/* The first column of the first row as a number. */
static int
ask_int(struct db *db, const char *sql, int64_t *ret)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL);
	if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		*ret = sqlite3_column_int64(stmt, 0);
		rc = SQLITE_OK;
	}
	sqlite3_finalize(stmt);
	return rc;
}

/* SQLITE_CORRUPT if the pragma finds anything. */
static int
check_structure(struct db *db, const char *pragma)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db->handle, pragma, -1, &stmt, NULL);
	if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *answer = (const char *)sqlite3_column_text(stmt, 0);
		rc = answer && strcmp(answer, "ok") == 0 ? SQLITE_OK : SQLITE_CORRUPT;
	}
	sqlite3_finalize(stmt);
	return rc;
}

static int
check_bounded(struct db *db, bool was_closed)
{
	struct stat st;
	if (stat(db->site->path, &st) < 0)
		return SQLITE_IOERR;
	if (st.st_size <= (was_closed ? CHECK_CLOSED_BYTES : CHECK_UNCLEAN_BYTES))
		return check_structure(db, "PRAGMA quick_check(1)");
	static const char *const small[] = { "PRAGMA quick_check('meta')",
					     "PRAGMA quick_check('peer')",
					     "PRAGMA quick_check('fetch')",
					     "PRAGMA quick_check('fetch_item')",
					     "PRAGMA quick_check('making')",
					     "PRAGMA quick_check('follow')",
					     "PRAGMA quick_check('follow_mark')" };
	int rc = SQLITE_OK;
	for (size_t i = 0; i < sizeof(small) / sizeof(small[0]) && rc == SQLITE_OK; i++)
		rc = check_structure(db, small[i]);
	return rc;
}

/* *ret_why is set if the file is SQLite's, but not ours.  An older version of ours becomes the one of today. */
static int
check_version(struct db *db, const char **ret_why)
{
	int64_t application = 0, version = 0;
	int rc = ask_int(db, "PRAGMA application_id", &application);
	if (rc == SQLITE_OK)
		rc = ask_int(db, "PRAGMA user_version", &version);
	if (rc != SQLITE_OK)
		return rc;
	if (application != APPLICATION_ID || !db_schema_is_known(version)) {
		*ret_why = application != APPLICATION_ID ? "it is not a catalog of p2pd"
							 : "it is of a foreign version";
		return SQLITE_OK;
	}
	rc = db_migrate(db, version);
	if (rc == SQLITE_ERROR) {
		*ret_why = "its tables are not those of a catalog";
		return SQLITE_OK;
	}
	return rc;
}

/* The same for what is in it. */
static int
check_owner(struct db *db, const char *self, const char **ret_why)
{
	int rc = check_version(db, ret_why);
	if (rc != SQLITE_OK || *ret_why != NULL)
		return rc;
	rc = follow_make_tables(db);
	if (rc == SQLITE_OK)
		rc = box_make_tables(db);
	for (int i = 0; i < SQL_COUNT && rc == SQLITE_OK; i++)
		rc = db_prepare(db, i);
	if (rc == SQLITE_ERROR) {
		*ret_why = "its tables are not those of a catalog";
		return SQLITE_OK;
	}
	struct peer_row row;
	if (rc == SQLITE_OK && (peer_row_load(db, self, &row) != 1 || row.no != SELF_NO))
		*ret_why = "it belongs to another peer id";
	return rc;
}

/* A file that is there: *ret_why is set if it is not to be used. */
static int
examine(struct db *db, const char *self, enum wal_state wal, const char **ret_why)
{
	int rc = check_owner(db, self, ret_why);
	if (rc != SQLITE_OK || *ret_why != NULL)
		return rc;
	int64_t is_open = 0;
	rc = ask_int(db, "SELECT value FROM meta WHERE key='open'", &is_open);
	if (rc == SQLITE_OK && is_open && wal != WAL_GOOD)
		*ret_why = "its write-ahead log is lost or damaged";
	else if (rc == SQLITE_OK)
		rc = check_bounded(db, !is_open);
	return rc;
}

static void
remove_new(const char *path)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		char *part = mem_format("%s%s", path, suffixes[i]);
		unlink(part);
		free(part);
	}
}

/*
 * Makes the file under another name first and renames it when it is whole: a first start that is
 * killed leaves nothing that the next one would take for damage.
 */
static int
make_file(const struct db_site *site, const char *self, struct error *err)
{
	struct db_site making = { .path = mem_format("%s.new", site->path) };
	struct db *db;
	int code = P2P_OK;
	remove_new(making.path);
	int rc =
	    open_handle(&making, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, writer_settings, &db);
	if (rc == SQLITE_OK)
		rc = db_create_schema(db, self, APPLICATION_ID);
	if (rc != SQLITE_OK) {
		code = db_fail(db, rc);
		error_set(err, code, "cannot make the catalog %s: %s", site->path,
			  sqlite3_errmsg(db->handle));
	}
	/* Closing the only connection brings the log into the file and removes it. */
	db_close(db);
	if (code == P2P_OK && rename(making.path, site->path) < 0)
		code = error_errno(err, "cannot give the new catalog its name %s", site->path);
	if (code != P2P_OK)
		remove_new(making.path);
	free(making.path);
	return code;
}

/*
 * Notes in the file itself, not only in its log, that it is open: should the log be lost, the next
 * start knows. Fetches that were interrupted between their last item and their end are forgotten on
 * the way.  What a chore adds to the index of names fits into so much memory, and is written once.
 */
static int
mark_open(struct db *db)
{
	return sqlite3_exec(db->handle,
			    "BEGIN IMMEDIATE;"
			    "INSERT OR REPLACE INTO meta(key,value) VALUES('open',1);"
			    "DELETE FROM fetch WHERE NOT EXISTS"
			    " (SELECT 1 FROM fetch_item WHERE fetch_item.fetch=fetch.id);"
			    "DELETE FROM making WHERE fetch NOT IN (SELECT id FROM fetch);"
			    "INSERT INTO find(find,rank) VALUES('hashsize',8388608);"
			    "COMMIT; PRAGMA wal_checkpoint(PASSIVE)",
			    NULL, NULL, NULL);
}

void
db_mark_closed(struct db *db)
{
	db_run(db, SQL_META_SET, db_text("open"), db_int(0));
}

/* --- setting aside --- */

static void
stamp(char *ret, size_t size)
{
	time_t now = (time_t)(clock_wall_ms() / 1000);
	struct tm tm;
	gmtime_r(&now, &tm);
	strftime(ret, size, "%Y%m%dT%H%M%SZ", &tm);
}

/* Renames `path` + suffix to `aside` + suffix; a missing one is nothing. */
static int
move_part(const char *path, const char *aside, const char *suffix)
{
	char *from = mem_format("%s%s", path, suffix);
	char *to = mem_format("%s%s", aside, suffix);
	int rc = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
	int saved = rc < 0 ? errno : 0;
	free(from);
	free(to);
	return saved == ENOENT ? 0 : saved;
}

static int
set_aside(const struct db_site *site, const char *why, char **ret_set_aside, struct error *err)
{
	char when[32];
	stamp(when, sizeof(when));
	char *aside = mem_format("%s.damaged-%s", site->path, when);
	int failed = move_part(site->path, aside, "");
	for (unsigned i = 1; failed == EEXIST && i < 100; i++) {
		free(aside);
		aside = mem_format("%s.damaged-%s.%u", site->path, when, i);
		failed = move_part(site->path, aside, "");
	}
	if (failed == 0)
		failed = move_part(site->path, aside, "-wal");
	if (failed != 0) {
		errno = failed;
		free(aside);
		return error_errno(err, "cannot set aside the catalog %s (%s)", site->path, why);
	}
	/* The index of the log is made anew; the mark has done its work. */
	char *shm = mem_format("%s-shm", site->path);
	char *mark = mem_format("%s.suspect", site->path);
	unlink(shm);
	unlink(mark);
	free(shm);
	free(mark);
	*ret_set_aside = mem_format("%s was set aside as %s: %s", site->path, aside, why);
	free(aside);
	return P2P_OK;
}

/* --- opening for writing --- */

/* Why the file is not even to be opened, or NULL. */
static const char *
look_at_file(const struct db_site *site, bool *ret_exists)
{
	struct stat st;
	*ret_exists = stat(site->path, &st) == 0;
	char *mark = mem_format("%s.suspect", site->path);
	bool is_marked = access(mark, F_OK) == 0;
	if (!*ret_exists && is_marked)
		unlink(mark);
	free(mark);
	if (!*ret_exists)
		return NULL;
	if (is_marked)
		return "it was found damaged while in use";
	return S_ISREG(st.st_mode) && st.st_size == 0 ? "it is empty" : NULL;
}

/* One try.  P2P_OK and *ret, or *ret_why to set the file aside, or a code and err. */
static int
try_open(struct db_site *site, const char *self, struct db **ret, const char **ret_why,
	 struct error *err)
{
	bool exists;
	if ((*ret_why = look_at_file(site, &exists)) != NULL)
		return P2P_OK;
	enum wal_state wal = look_at_wal(site);
	if (!exists && wal != WAL_NONE) {
		*ret_why = "only its write-ahead log is left";
		return P2P_OK;
	}
	int code = exists ? P2P_OK : make_file(site, self, err);
	if (code != P2P_OK)
		return code;
	struct db *db;
	int rc = open_handle(site, SQLITE_OPEN_READWRITE, writer_settings, &db);
	if (rc == SQLITE_OK)
		rc = examine(db, self, wal, ret_why);
	if (rc == SQLITE_OK && *ret_why == NULL)
		rc = mark_open(db);
	if (rc == SQLITE_OK && *ret_why == NULL && names_check(db) != P2P_OK)
		rc = sqlite3_extended_errcode(db->handle);
	if (rc == SQLITE_OK && *ret_why == NULL) {
		*ret = db;
		return P2P_OK;
	}
	if (db_is_damage(rc))
		*ret_why = "it is damaged";
	code = *ret_why ? P2P_OK : db_fail(db, rc);
	if (code < 0)
		error_set(err, code, "cannot open the catalog %s: %s", site->path,
			  sqlite3_errmsg(db->handle));
	db_close(db);
	return code;
}

struct db *
db_open_writer(struct db_site *site, const char *self, char **ret_set_aside, struct error *err)
{
	struct db *db = NULL;
	const char *why = NULL;
	char *note = NULL;
	int code = try_open(site, self, &db, &why, err);
	if (code == P2P_OK && db == NULL) {
		code = set_aside(site, why, &note, err);
		why = NULL;
		if (code == P2P_OK)
			code = try_open(site, self, &db, &why, err);
		if (code == P2P_OK && db == NULL)
			error_set(err, P2P_IO, "cannot make a new catalog %s: %s", site->path, why);
	}
	if (ret_set_aside != NULL && db != NULL)
		*ret_set_aside = note;
	else
		free(note);
	return db;
}
