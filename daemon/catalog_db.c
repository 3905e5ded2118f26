/* SPDX-License-Identifier: MIT
 *
 * catalog_db.c - the statements of a connection, and what a failure of one means.
 *
 * Every statement of catalog_sql.def is prepared at its first use and kept.  A failure is turned into a code once, here, and
 * remembered in the connection, so that a sequence of statements is checked at its end.  What looks like damage marks the
 * file, and the next start sets it aside (catalog_open.c).
 */
#include "catalog_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"

static const char *const texts[] = {
#define SQL(symbol, text) [SQL_##symbol] = text,
#include "catalog_sql.def"
#undef SQL
};

/* --- failures --- */

bool
db_is_damage(int rc)
{
	return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
}

/* The next start sets the file aside. */
static void
mark_suspect(struct db *db)
{
	if (atomic_exchange(&db->site->is_suspect, true))
		return;
	log_error(
	    "the catalog %s is damaged (%s); it will be set aside and rebuilt at the next start",
	    db->site->path, sqlite3_errmsg(db->handle));
	char *mark = mem_format("%s.suspect", db->site->path);
	int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		log_error("cannot make %s: %s", mark, strerror(errno));
	else
		close(fd);
	free(mark);
}

/* The code for what SQLite just answered; remembered in db->failure. */
int
db_fail(struct db *db, int rc)
{
	int os = sqlite3_system_errno(db->handle);
	int code = P2P_IO;
	if ((rc & 0xff) == SQLITE_FULL ||
	    ((rc & 0xff) == SQLITE_IOERR && (os == ENOSPC || os == EDQUOT)))
		code = P2P_NO_SPACE;
	else if (db_is_damage(rc))
		mark_suspect(db);
	log_debug("catalog: %s (%d)", sqlite3_errmsg(db->handle), rc);
	if (db->failure == P2P_OK)
		db->failure = code;
	return code;
}

void
db_forgive(struct db *db)
{
	db->failure = P2P_OK;
}

/* --- statements --- */

static int
bind(sqlite3_stmt *stmt, int index, const struct db_arg *arg)
{
	switch (arg->kind) {
	case DB_NULL:
		return sqlite3_bind_null(stmt, index);
	case DB_INT:
		return sqlite3_bind_int64(stmt, index, arg->number);
	case DB_TEXT:
		return sqlite3_bind_text(stmt, index, arg->data, -1, SQLITE_STATIC);
	case DB_BLOB:
		/* NULL would be bound for a NULL pointer. */
		return sqlite3_bind_blob64(stmt, index, arg->data ? arg->data : "", arg->len,
					   SQLITE_STATIC);
	}
	return SQLITE_MISUSE;
}

int
db_prepare(struct db *db, enum sql sql)
{
	if (db->stmts[sql] != NULL)
		return SQLITE_OK;
	return sqlite3_prepare_v3(db->handle, texts[sql], -1, SQLITE_PREPARE_PERSISTENT,
				  &db->stmts[sql], NULL);
}

bool
db_has(struct db *db, const char *table, const char *column)
{
	return sqlite3_table_column_metadata(db->handle, NULL, table, column, NULL, NULL, NULL,
					     NULL, NULL) == SQLITE_OK;
}

int
db_next(struct db *db, enum sql sql)
{
	int rc = sqlite3_step(db->stmts[sql]);
	if (rc == SQLITE_ROW)
		return 1;
	int code = rc == SQLITE_DONE ? P2P_OK : db_fail(db, rc);
	sqlite3_reset(db->stmts[sql]);
	return code;
}

int
db_start_args(struct db *db, enum sql sql, const struct db_arg *args, size_t count)
{
	int rc = db_prepare(db, sql);
	for (size_t i = 0; i < count && rc == SQLITE_OK; i++)
		rc = bind(db->stmts[sql], (int)i + 1, &args[i]);
	return rc == SQLITE_OK ? db_next(db, sql) : db_fail(db, rc);
}

void
db_end(struct db *db, enum sql sql)
{
	/* Only says again what db_next() said. */
	(void)sqlite3_reset(db->stmts[sql]);
}

int
db_run_args(struct db *db, enum sql sql, const struct db_arg *args, size_t count)
{
	int code = db_start_args(db, sql, args, count);
	if (code > 0)
		db_end(db, sql);
	return code < 0 ? code : P2P_OK;
}

uint64_t
db_col_int(struct db *db, enum sql sql, int column)
{
	return (uint64_t)sqlite3_column_int64(db->stmts[sql], column);
}

const char *
db_col_text(struct db *db, enum sql sql, int column)
{
	const char *text = (const char *)sqlite3_column_text(db->stmts[sql], column);
	return text == NULL ? "" : text;
}

bool
db_col_is_null(struct db *db, enum sql sql, int column)
{
	return sqlite3_column_type(db->stmts[sql], column) == SQLITE_NULL;
}

const void *
db_col_blob(struct db *db, enum sql sql, int column, size_t *ret_len)
{
	const void *data = sqlite3_column_blob(db->stmts[sql], column);
	*ret_len = data == NULL ? 0 : (size_t)sqlite3_column_bytes(db->stmts[sql], column);
	return data;
}

void
db_col_digest(struct db *db, enum sql sql, int column, struct digest *ret)
{
	size_t len;
	const void *data = db_col_blob(db, sql, column, &len);
	if (len == DIGEST_BYTES)
		memcpy(ret->bytes, data, DIGEST_BYTES);
	else
		memset(ret->bytes, 0, DIGEST_BYTES);
}

/* --- chores --- */

bool
db_chore(struct db *db, int (*chore)(struct db *db))
{
	if (db_run_plain(db, SQL_BEGIN) < 0)
		return false;
	int code = chore(db);
	if (code == P2P_OK)
		code = db_run_plain(db, SQL_COMMIT);
	if (code != P2P_OK) {
		log_debug("a chore of the catalog waits: %s", code_title(code));
		if (!sqlite3_get_autocommit(db->handle))
			db_run_plain(db, SQL_ROLLBACK);
	}
	return code == P2P_OK;
}
