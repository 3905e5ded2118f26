/* SPDX-License-Identifier: MIT
 *
 * broker.c - events to a message broker, and notices by it.
 *
 * Who does what.  What happens to files is put into the outbox by the catalog, in the transaction of
 * the change itself (catalog_outbox.h): neither kill -9 nor a power cut can come in between.  All
 * other events that are kept go into it by a batch from the mind, so that a kill loses at most those
 * of the last moments.  A thread of its own sends the outbox to the broker, in order
 * (broker_publish.c), and lets out of it what the broker has confirmed.
 *
 * That thread alone touches the connection.  Everything it waits for has an end: a connection, an
 * answer, a confirm, a heartbeat.  What fails is logged once, and tried again after a pause that
 * doubles from a second to a minute; the pause begins anew only after the broker has confirmed
 * something or stayed for a minute, for there are brokers that accept a connection and end it at
 * the first message.  The mind wakes it by a descriptor, and never waits for it but at the end.
 *
 * The password is read when it is needed, is in no error and no log, and is wiped afterwards.
 */
#include "broker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker_inner.h"
#include "broker_library.h"
#include "catalog_outbox.h"
#include "clock.h"
#include "file.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"
#include "thread.h"
#include "wire_json.h"

#define PAUSE_MIN_MS 1000
#define PAUSE_MAX_MS 60000
#define STOP_S       1   /* for a good-bye; then the connection is broken off */
#define NEWS_AT_ONCE 256 /* taken in one turn, so that our own messages get theirs */
#define CREDENTIAL   "amqp-password"
#define USUAL_CA     "/etc/ssl/certs/ca-certificates.crt"

/* --- the password --- */

static int
read_password_file(const char *path, char ret[AMQP_PASSWORD_SIZE], struct error *err)
{
	struct stat st;
	struct buf text;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_errno(err, "cannot read the password file %s", path);
	int code = P2P_OK;
	buf_init(&text, AMQP_PASSWORD_SIZE);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		code = error_set(err, P2P_FORBIDDEN, "%s is no regular file", path);
	else if ((st.st_mode & 0007) != 0)
		code = error_set(err, P2P_FORBIDDEN,
				 "%s may be used by everybody (mode %03o): chmod 600 it", path,
				 st.st_mode & 0777);
	else
		code = file_read_all(fd, &text, err);
	close(fd);
	if (code == P2P_OK) {
		size_t len = text.len > 0 ? strcspn(text.data, "\r\n") : 0;
		memcpy(ret, len > 0 ? text.data : "", len);
		ret[len] = '\0';
		if (len == 0)
			code = error_set(err, P2P_BAD_REQUEST, "%s has no password in it", path);
	}
	if (text.len > 0)
		explicit_bzero(text.data, text.len);
	buf_fini(&text);
	return code;
}

/* The file, else the credential, else what the url says. */
static int
find_password(const struct broker *broker, char ret[AMQP_PASSWORD_SIZE], struct error *err)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	if (broker->config->amqp_password_file != NULL)
		return read_password_file(broker->config->amqp_password_file, ret, err);
	if (directory != NULL) {
		char *path = mem_format("%s/%s", directory, CREDENTIAL);
		bool is_there = access(path, F_OK) == 0;
		int code = is_there ? read_password_file(path, ret, err) : P2P_OK;
		free(path);
		if (is_there)
			return code;
	}
	bool is_guest = strcmp(broker->url.user, "guest") == 0;
	if (!broker->url.has_password && !is_guest)
		return error_set(err, P2P_BAD_REQUEST,
				 "there is no password for the user: set [amqp] password_file");
	strcpy(ret, broker->url.has_password ? broker->url.password : "guest");
	return P2P_OK;
}

/* --- what people see --- */

static void
note_connected(struct broker *broker)
{
	pthread_mutex_lock(&broker->mu);
	broker->is_connected = true;
	broker->is_blocked_told = false;
	broker->since_ms = clock_ms();
	broker->why[0] = '\0';
	pthread_mutex_unlock(&broker->mu);
	metrics_add(METRIC_AMQP_CONNECTIONS, 1);
	log_info("AMQP: connected to %s:%u, exchange %s", broker->url.host, broker->url.port,
		 broker->config->amqp_exchange);
}

/* The same reason again is not worth a line. */
static void
note_failed(struct broker *broker, const struct error *err)
{
	pthread_mutex_lock(&broker->mu);
	bool is_news = broker->is_connected || strcmp(broker->why, err->text) != 0;
	if (broker->is_connected || broker->why[0] == '\0')
		broker->since_ms = clock_ms();
	broker->is_connected = broker->is_blocked_told = false;
	snprintf(broker->why, sizeof(broker->why), "%s", err->text);
	pthread_mutex_unlock(&broker->mu);
	if (is_news)
		log_warn("AMQP: no connection to %s:%u: %s; events wait in the outbox",
			 broker->url.host, broker->url.port, err->text);
}

static void
note_blocked(struct broker *broker, const char *why)
{
	broker->is_blocked = why != NULL;
	pthread_mutex_lock(&broker->mu);
	bool is_news = broker->is_blocked_told != broker->is_blocked;
	broker->is_blocked_told = broker->is_blocked;
	snprintf(broker->why, sizeof(broker->why), "%s", why != NULL ? why : "");
	pthread_mutex_unlock(&broker->mu);
	if (is_news && why != NULL)
		log_warn("AMQP: the broker takes no messages for now: %s", why);
	else if (is_news)
		log_info("AMQP: the broker takes messages again");
}

void
broker_status(const struct broker *broker, struct service_broker *ret)
{
	struct broker *mine = (struct broker *)broker; /* for its lock */
	*ret = (struct service_broker){ .is_configured = broker->is_on };
	if (!broker->is_on)
		return;
	pthread_mutex_lock(&mine->mu);
	ret->is_connected = broker->is_connected;
	ret->is_blocked = broker->is_blocked_told;
	ret->for_ms = clock_ms() - broker->since_ms;
	snprintf(ret->why, sizeof(ret->why), "%s", broker->why);
	pthread_mutex_unlock(&mine->mu);
	snprintf(ret->address, sizeof(ret->address), "%s:%u", broker->url.host, broker->url.port);
	catalog_outbox_size(broker->parts.catalog, &ret->outbox_events, &ret->outbox_bytes);
	ret->lost_events = catalog_outbox_lost(broker->parts.catalog);
}

/* --- the thread --- */

static void
wake(struct broker *broker)
{
	uint64_t one = 1;
	if (write(broker->wake_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN); /* it is awake */
}

/* Until something comes, somebody wakes us, or the time is over. */
static void
wait_for(struct broker *broker, int fd, int wait_ms)
{
	struct pollfd fds[2] = { { .fd = broker->wake_fd, .events = POLLIN },
				 { .fd = fd, .events = POLLIN } };
	uint64_t count;
	if (poll(fds, 2, wait_ms) > 0 && fds[0].revents != 0 &&
	    read(broker->wake_fd, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN);
}

static bool
connect_link(struct broker *broker, struct error *err)
{
	char password[AMQP_PASSWORD_SIZE + 1] = "";
	const struct config *config = broker->config;
	char *name = mem_format("p2pd %s", config->node_name);
	const struct link_terms terms = {
		.url = &broker->url,
		.password = password,
		.ca = config->amqp_ca != NULL ? config->amqp_ca : USUAL_CA,
		.exchange = config->amqp_exchange,
		.name = name,
		.listen_key = config->amqp_notices ? "notice.#" : NULL,
		.heartbeat_s = config->amqp_heartbeat_s,
	};
	broker->link = NULL;
	if (broker_library_load(err) == P2P_OK && find_password(broker, password, err) == P2P_OK)
		broker->link = link_open(&terms, &broker->guard, err);
	explicit_bzero(password, sizeof(password));
	free(name);
	return broker->link != NULL;
}

static int
take(struct broker *broker, const struct link_news *news, struct error *err)
{
	switch (news->what) {
	case LINK_NOTHING:
	case LINK_OTHER:
		break;
	case LINK_CONFIRMED:
	case LINK_REFUSED:
		return publisher_answered(&broker->publisher, news, err);
	case LINK_MESSAGE:
		notices_take(broker, news->data, news->len);
		break;
	case LINK_RUBBISH:
		notices_take(broker, NULL, 0);
		break;
	case LINK_BLOCKED:
		note_blocked(broker, news->data);
		break;
	case LINK_UNBLOCKED:
		broker->publisher.moved_ms = clock_ms();
		note_blocked(broker, NULL);
		break;
	}
	return P2P_OK;
}

/* What has come, up to NEWS_AT_ONCE; *ret_more if there may be more. */
static int
take_news(struct broker *broker, bool *ret_more, struct error *err)
{
	struct link_news news = { .what = LINK_OTHER };
	int code = P2P_OK;
	for (int i = 0; i < NEWS_AT_ONCE && news.what != LINK_NOTHING && code == P2P_OK; i++) {
		code = link_next(broker->link, &news, err);
		if (code == P2P_OK)
			code = take(broker, &news, err);
	}
	*ret_more = news.what != LINK_NOTHING;
	return code;
}

/* One turn.  *ret_wait_ms: until the next, if nothing comes before. */
static int
serve_once(struct broker *broker, int *ret_wait_ms, struct error *err)
{
	struct publisher *publisher = &broker->publisher;
	bool has_more = false;
	*ret_wait_ms = (int)broker->config->amqp_heartbeat_s * 500;
	int code = take_news(broker, &has_more, err);
	if (code != P2P_OK)
		return code;
	if (atomic_exchange(&broker->is_outbox_moved, false))
		publisher->has_more = true;
	if (!broker->is_blocked) {
		if ((code = notices_tell(broker, clock_ms(), ret_wait_ms, err)) != P2P_OK ||
		    (code = publisher_fill(publisher, err)) != P2P_OK)
			return code;
		if (publisher_is_stuck(publisher, clock_ms()))
			return error_set(err, P2P_TIMEOUT, "the broker confirms nothing");
	}
	publisher_drop(publisher, false);
	if (has_more)
		*ret_wait_ms = 0;
	return P2P_OK;
}

/* Until the connection ends, or we do.  True if it was a good one. */
static bool
serve(struct broker *broker)
{
	struct error err;
	int code, wait_ms;
	uint64_t begun_ms = clock_ms(), begun_no = broker->publisher.arrived_no;
	broker->is_blocked = false;
	atomic_store(&broker->is_notice_due, true);
	publisher_begin(&broker->publisher);
	note_connected(broker);
	while ((code = serve_once(broker, &wait_ms, &err)) == P2P_OK &&
	       !atomic_load(&broker->is_stopping))
		wait_for(broker, link_fd(broker->link), wait_ms);
	publisher_drop(&broker->publisher, true);
	link_close(broker->link, code == P2P_OK);
	if (code != P2P_OK)
		note_failed(broker, &err);
	return broker->publisher.arrived_no != begun_no || clock_ms() - begun_ms > PAUSE_MAX_MS;
}

/* Up to a fifth more or less, so that peers which lost a broker together do not come back together. */
static uint64_t
jitter(uint64_t ms)
{
	uint32_t random = 0;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (uint32_t)clock_us();
	return ms * 4 / 5 + random % (ms * 2 / 5 + 1);
}

static void
rest(struct broker *broker, uint64_t pause_ms)
{
	uint64_t until_ms = clock_ms() + jitter(pause_ms);
	for (uint64_t now_ms;
	     (now_ms = clock_ms()) < until_ms && !atomic_load(&broker->is_stopping);) {
		if (atomic_exchange(&broker->is_retry_wanted, false))
			return;
		wait_for(broker, -1, (int)(until_ms - now_ms));
	}
}

static void *
broker_main(void *arg)
{
	struct broker *broker = arg;
	struct error err = { 0 };
	uint64_t pause_ms = PAUSE_MIN_MS;
	while (!atomic_load(&broker->is_stopping)) {
		bool is_good = false;
		atomic_store(&broker->is_retry_wanted, false);
		if (connect_link(broker, &err))
			is_good = serve(broker);
		else
			note_failed(broker, &err);
		if (is_good)
			pause_ms = PAUSE_MIN_MS;
		rest(broker, pause_ms);
		pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
	}
	return NULL;
}

/* --- what happens --- */

static void
on_stored(void *arg, int code)
{
	struct broker *broker = arg;
	(void)code; /* the catalog complains; what was not stored is lost */
	atomic_store(&broker->is_outbox_moved, true);
	wake(broker);
}

/* The catalog has put it into the outbox already. */
static void
on_file(struct broker *broker, const struct event *event)
{
	bool is_own = strcmp(event->peer, broker->parts.self) == 0 || event->peer[0] == '\0';
	if (!is_own && !broker->config->amqp_relay)
		return;
	if (is_own)
		atomic_store(&broker->is_notice_due, true);
	atomic_store(&broker->is_outbox_moved, true);
	wake(broker);
}

static void
on_event(void *arg, struct event *event)
{
	struct broker *broker = arg;
	if (broker->is_stopped || !event_is_kept(event->kind))
		return;
	switch (event->kind) {
	case EVENT_FILE_ADDED:
	case EVENT_FILE_CHANGED:
	case EVENT_FILE_REMOVED:
	case EVENT_FILES_CHANGED:
		on_file(broker, event);
		return;
	default:
		break;
	}
	struct catalog_batch *batch = catalog_batch_new();
	char *body = wire_event(event, 0);
	catalog_batch_outbox(batch, event->kind, event->wall_ms, body);
	free(body);
	catalog_submit(broker->parts.catalog, batch, on_stored, broker);
}

/* --- life --- */

static void
fill_outbox(struct broker *broker)
{
	const struct config *config = broker->config;
	catalog_outbox_enable(broker->parts.catalog,
			      &(struct outbox_terms){ .max_entries = config->amqp_outbox_events,
						      .max_bytes = config->amqp_outbox_size,
						      .with_others = config->amqp_relay });
	broker->listener = events_listen(broker->parts.events, events_last_id(broker->parts.events),
					 on_event, broker);
}

static int
start(struct broker *broker, struct error *err)
{
	int code = amqp_url_parse(broker->config->amqp_url, &broker->url, err);
	if (code != P2P_OK)
		return code;
	broker->is_on = true;
	broker->since_ms = clock_ms();
	broker->publisher.broker = broker;
	broker->inbox = mem_zero(1, sizeof(*broker->inbox));
	pthread_mutex_init(&broker->inbox->mu, NULL);
	broker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (broker->wake_fd < 0)
		return error_errno(err, "cannot make an eventfd");
	fill_outbox(broker);
	broker->has_thread =
	    thread_start(&broker->thread, NULL, "p2pd-broker", broker_main, broker) == 0;
	return broker->has_thread
		   ? P2P_OK
		   : error_set(err, P2P_INTERNAL, "cannot start the broker's thread");
}

struct broker *
broker_new(const struct broker_parts *parts, struct config *config, struct error *err)
{
	struct broker *broker = mem_zero(1, sizeof(*broker));
	broker->parts = *parts;
	broker->config = config_ref(config);
	broker->wake_fd = -1;
	pthread_mutex_init(&broker->mu, NULL);
	link_guard_init(&broker->guard);
	if (config->amqp_url == NULL || start(broker, err) == P2P_OK)
		return broker;
	broker_free(broker);
	return NULL;
}

void
broker_retry(struct broker *broker)
{
	if (broker == NULL || !broker->has_thread)
		return;
	atomic_store(&broker->is_retry_wanted, true);
	wake(broker);
}

void
broker_stop(struct broker *broker)
{
	if (broker == NULL || !broker->has_thread)
		return;
	atomic_store(&broker->is_stopping, true);
	wake(broker);
}

void
broker_join(struct broker *broker)
{
	if (broker == NULL)
		return;
	broker->is_stopped = true;
	if (!broker->has_thread)
		return;
	broker_stop(broker);
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_S;
	if (pthread_timedjoin_np(broker->thread, NULL, &until) != 0) {
		link_break(&broker->guard);
		pthread_join(broker->thread, NULL);
	}
	broker->has_thread = false;
}

void
broker_free(struct broker *broker)
{
	if (broker == NULL)
		return;
	broker_join(broker);
	events_listener_free(broker->listener);
	if (broker->wake_fd >= 0)
		close(broker->wake_fd);
	if (broker->inbox != NULL)
		pthread_mutex_destroy(&broker->inbox->mu);
	free(broker->inbox);
	link_guard_fini(&broker->guard);
	pthread_mutex_destroy(&broker->mu);
	config_unref(broker->config);
	explicit_bzero(&broker->url, sizeof(broker->url));
	free(broker);
}
