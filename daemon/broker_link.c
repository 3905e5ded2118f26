/* SPDX-License-Identifier: MIT
 *
 * broker_link.c - one connection to a broker, over librabbitmq.
 *
 * The library blocks; what is done about that:
 *  - connecting, the greeting and each answer have a time of their own (LINK_*_MS), after which the
 *    connection is given up;
 *  - reading never waits: whoever calls polls the descriptor first, and then reads until nothing is
 *    left (with TLS there may be more in the library than the descriptor shows);
 *  - writing has no time-out in the library at all.  So the caller keeps what is unconfirmed below
 *    LINK_UNCONFIRMED_MAX, and the socket's buffer has room for several times that: a broker that
 *    reads nothing any more is noticed by its missing heartbeats, not by a write that hangs;
 *  - should one hang all the same, link_break() ends it from outside.
 *
 * The library's own functions that read a whole message allocate what the header announces.
 * Messages are put together here instead, frame by frame, into a buffer of LINK_MESSAGE_MAX; of a
 * longer one every byte is skipped.
 *
 * Two channels: lasting messages have one alone, in confirm mode, so that its tags count nothing
 * else; passing ones and what is consumed have the other.  Whatever closes a channel or cancels the
 * consumer is the end of the connection; a new one begins with everything in order.
 */
#include "broker_link.h"

#include <sys/socket.h>

#include "broker_library.h"

#ifdef AMQP_SONAME

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define CH_LASTING  1
#define CH_PASSING  2
#define SEND_BUFFER (4 * LINK_UNCONFIRMED_MAX)
#define PASSING_MS  "60000" /* a passing message that nobody took is dropped */
#define QUEUE_MAX   1000    /* messages that the broker keeps for us; the oldest go first */
#define FRAME_MAX   131072
#define REASON_MAX  200

struct broker_link {
	amqp_connection_state_t state;
	struct link_guard *guard;
	const char *exchange;

	/* The message that is coming in. */
	enum { IN_NONE, IN_HEADER, IN_BODY } in;
	uint64_t left; /* bytes of its body */
	bool is_kept;
	char data[LINK_MESSAGE_MAX + 1];
	size_t len;

	/* Of a connection that is blocked; that may be said in the midst of a message. */
	char reason[REASON_MAX + 1];
};

static const amqp_bytes_t none = { 0, NULL };
static const amqp_table_t no_table = { 0, NULL };

/* --- the guard --- */

static void
guard_set(struct link_guard *guard, int fd)
{
	pthread_mutex_lock(&guard->mu);
	guard->fd = fd;
	pthread_mutex_unlock(&guard->mu);
}

/* --- errors --- */

/* "connecting to the broker: ...", from the library's answer. */
static int
fail(struct error *err, const char *doing, int status)
{
	int code = P2P_UNREACHABLE;
	if (status == AMQP_STATUS_TIMEOUT || status == AMQP_STATUS_HEARTBEAT_TIMEOUT)
		code = P2P_TIMEOUT;
	if (status == AMQP_STATUS_BAD_AMQP_DATA || status == AMQP_STATUS_UNKNOWN_CLASS ||
	    status == AMQP_STATUS_UNKNOWN_METHOD || status == AMQP_STATUS_WRONG_METHOD ||
	    status == AMQP_STATUS_INCOMPATIBLE_AMQP_VERSION)
		code = P2P_BAD_ANSWER;
	return error_set(err, code, "%s: %s", doing, amqp.error_string2(status));
}

static int
fail_closed(struct error *err, const char *doing, uint16_t code, amqp_bytes_t text)
{
	int len = text.len < REASON_MAX ? (int)text.len : REASON_MAX;
	bool is_refusal = code == AMQP_ACCESS_REFUSED || code == AMQP_NOT_ALLOWED;
	return error_set(err, is_refusal ? P2P_FORBIDDEN : P2P_UNREACHABLE,
			 "%s: the broker says %u %.*s", doing, code, len,
			 len > 0 ? (const char *)text.bytes : "");
}

/* A method that closes something, or what else nobody asked for. */
static int
fail_method(struct error *err, const char *doing, const amqp_method_t *method)
{
	if (method->id == AMQP_CONNECTION_CLOSE_METHOD) {
		const amqp_connection_close_t *close = method->decoded;
		return fail_closed(err, doing, close->reply_code, close->reply_text);
	}
	if (method->id == AMQP_CHANNEL_CLOSE_METHOD) {
		const amqp_channel_close_t *close = method->decoded;
		return fail_closed(err, doing, close->reply_code, close->reply_text);
	}
	return error_set(err, P2P_BAD_ANSWER, "%s: the broker sends method 0x%08x", doing,
			 method->id);
}

static int
judge(struct error *err, const char *doing, amqp_rpc_reply_t reply)
{
	switch (reply.reply_type) {
	case AMQP_RESPONSE_NORMAL:
		return P2P_OK;
	case AMQP_RESPONSE_LIBRARY_EXCEPTION:
		return fail(err, doing, reply.library_error);
	case AMQP_RESPONSE_SERVER_EXCEPTION:
		return fail_method(err, doing, &reply.reply);
	case AMQP_RESPONSE_NONE:
		break;
	}
	return error_set(err, P2P_UNREACHABLE, "%s: the broker closed the connection", doing);
}

/* --- opening --- */

static struct timeval
span(uint32_t ms)
{
	return (struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
}

static int
set_up_tls(amqp_socket_t *sock, const char *ca, struct error *err)
{
	amqp.ssl_socket_set_verify_peer(sock, 1);
	amqp.ssl_socket_set_verify_hostname(sock, 1);
	if (amqp.ssl_socket_set_ssl_versions(sock, AMQP_TLSv1_2, AMQP_TLSvLATEST) != AMQP_STATUS_OK)
		return error_set(err, P2P_INTERNAL, "TLS 1.2 is not to be had");
	if (amqp.ssl_socket_set_cacert(sock, ca) != AMQP_STATUS_OK)
		return error_set(err, P2P_FORBIDDEN, "cannot use the certificates in %s", ca);
	return P2P_OK;
}

/* A write is not to wait for the broker, and a dead line is to be noticed. */
static void
set_up_socket(int fd)
{
	int room = SEND_BUFFER, yes = 1, ms = LINK_ANSWER_MS * 3;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

static int
connect_to(struct broker_link *link, const struct link_terms *terms, struct error *err)
{
	const struct amqp_url *url = terms->url;
	amqp_socket_t *sock =
	    url->is_tls ? amqp.ssl_socket_new(link->state) : amqp.tcp_socket_new(link->state);
	if (sock == NULL)
		return error_set(err, P2P_INTERNAL, "cannot make a socket for the broker");
	int code = url->is_tls ? set_up_tls(sock, terms->ca, err) : P2P_OK;
	if (code != P2P_OK)
		return code;
	struct timeval limit = span(LINK_CONNECT_MS);
	int status = amqp.socket_open_noblock(sock, url->host, url->port, &limit);
	if (status != AMQP_STATUS_OK)
		return fail(err, "connecting", status);
	int fd = amqp.get_sockfd(link->state);
	set_up_socket(fd);
	guard_set(link->guard, fd);
	return P2P_OK;
}

/* What the broker shows beside the connection, and what it may tell us. */
struct description {
	amqp_table_entry_t capabilities[2], entries[3];
	amqp_table_t table;
};

static void
describe(const struct link_terms *terms, struct description *ret)
{
	static const char *const understood[] = { "connection.blocked", "consumer_cancel_notify" };
	static const char *const keys[] = { "product", "connection_name" };
	const char *const values[] = { "p2pd " PACKAGE_VERSION, terms->name };
	for (size_t i = 0; i < 2; i++) {
		ret->capabilities[i] = (amqp_table_entry_t){
			.key = amqp.cstring_bytes(understood[i]),
			.value = { .kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1 },
		};
		ret->entries[i] = (amqp_table_entry_t){
			.key = amqp.cstring_bytes(keys[i]),
			.value = { .kind = AMQP_FIELD_KIND_UTF8,
				   .value.bytes = amqp.cstring_bytes(values[i]) },
		};
	}
	ret->entries[2] = (amqp_table_entry_t){
		.key = amqp.cstring_bytes("capabilities"),
		.value = { .kind = AMQP_FIELD_KIND_TABLE, .value.table = { 2, ret->capabilities } },
	};
	ret->table = (amqp_table_t){ 3, ret->entries };
}

static int
log_in(struct broker_link *link, const struct link_terms *terms, struct error *err)
{
	struct description description;
	describe(terms, &description);
	struct timeval limit = span(LINK_ANSWER_MS);
	amqp.set_handshake_timeout(link->state, &limit);
	amqp.set_rpc_timeout(link->state, &limit);
	return judge(err, "logging in",
		     amqp.login_with_properties(link->state, terms->url->vhost, 0, FRAME_MAX,
						(int)terms->heartbeat_s, &description.table,
						AMQP_SASL_METHOD_PLAIN, terms->url->user,
						terms->password));
}

static int
answer(struct broker_link *link, const char *doing, struct error *err)
{
	return judge(err, doing, amqp.get_rpc_reply(link->state));
}

static int
prepare_publishing(struct broker_link *link, struct error *err)
{
	amqp_connection_state_t state = link->state;
	int code;
	amqp.channel_open(state, CH_LASTING);
	if ((code = answer(link, "opening a channel", err)) != P2P_OK)
		return code;
	amqp.channel_open(state, CH_PASSING);
	if ((code = answer(link, "opening a channel", err)) != P2P_OK)
		return code;
	amqp.exchange_declare(state, CH_LASTING, amqp.cstring_bytes(link->exchange),
			      amqp.cstring_bytes("topic"), 0, 1, 0, 0, no_table);
	if ((code = answer(link, "declaring the exchange", err)) != P2P_OK)
		return code;
	amqp.confirm_select(state, CH_LASTING);
	return answer(link, "asking for confirms", err);
}

/* A queue of our own that goes when we go, and never grows. */
static int
prepare_listening(struct broker_link *link, const char *key, struct error *err)
{
	amqp_connection_state_t state = link->state;
	amqp_table_entry_t most = { .key = amqp.cstring_bytes("x-max-length"),
				    .value = { .kind = AMQP_FIELD_KIND_I32,
					       .value.i32 = QUEUE_MAX } };
	int code;
	amqp_queue_declare_ok_t *queue =
	    amqp.queue_declare(state, CH_PASSING, none, 0, 0, 1, 1, (amqp_table_t){ 1, &most });
	if ((code = answer(link, "declaring a queue", err)) != P2P_OK)
		return code;
	if (queue->queue.len > 255)
		return error_set(err, P2P_BAD_ANSWER, "the broker's name of a queue is too long");
	char name[256]; /* the answer's own memory goes with the next one */
	amqp_bytes_t queue_name = { queue->queue.len, name };
	memcpy(name, queue->queue.bytes, queue->queue.len);
	amqp.queue_bind(state, CH_PASSING, queue_name, amqp.cstring_bytes(link->exchange),
			amqp.cstring_bytes(key), no_table);
	if ((code = answer(link, "binding a queue", err)) != P2P_OK)
		return code;
	amqp.basic_consume(state, CH_PASSING, queue_name, none, 0, 1, 1, no_table);
	return answer(link, "consuming", err);
}

struct broker_link *
link_open(const struct link_terms *terms, struct link_guard *guard, struct error *err)
{
	struct broker_link *link = mem_zero(1, sizeof(*link));
	link->guard = guard;
	link->exchange = terms->exchange;
	link->state = amqp.new_connection();
	int code = link->state != NULL ? P2P_OK : error_set(err, P2P_INTERNAL, "no memory");
	if (code == P2P_OK)
		code = connect_to(link, terms, err);
	if (code == P2P_OK)
		code = log_in(link, terms, err);
	if (code == P2P_OK)
		code = prepare_publishing(link, err);
	if (code == P2P_OK && terms->listen_key != NULL)
		code = prepare_listening(link, terms->listen_key, err);
	if (code == P2P_OK)
		return link;
	link_close(link, false);
	return NULL;
}

void
link_close(struct broker_link *link, bool is_well)
{
	if (link == NULL)
		return;
	if (is_well) {
		struct timeval limit = span(LINK_CLOSE_MS);
		amqp.set_rpc_timeout(link->state, &limit);
		amqp.connection_close(link->state, AMQP_REPLY_SUCCESS);
	}
	guard_set(link->guard, -1);
	if (link->state != NULL)
		amqp.destroy_connection(link->state);
	free(link);
}

int
link_fd(const struct broker_link *link)
{
	return amqp.get_sockfd(link->state);
}

/* --- publishing --- */

int
link_publish(struct broker_link *link, const struct link_message *message, struct error *err)
{
	amqp_basic_properties_t properties = {
		._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
			  AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_APP_ID_FLAG,
		.content_type = amqp.cstring_bytes("application/json"),
		.delivery_mode =
		    message->is_lasting ? AMQP_DELIVERY_PERSISTENT : AMQP_DELIVERY_NONPERSISTENT,
		.timestamp = (uint64_t)(message->wall_ms / 1000),
		.type = amqp.cstring_bytes(message->type),
		.app_id = amqp.cstring_bytes(message->app),
	};
	if (message->id != NULL) {
		properties._flags |= AMQP_BASIC_MESSAGE_ID_FLAG;
		properties.message_id = amqp.cstring_bytes(message->id);
	}
	if (!message->is_lasting) {
		properties._flags |= AMQP_BASIC_EXPIRATION_FLAG;
		properties.expiration = amqp.cstring_bytes(PASSING_MS);
	}
	int status =
	    amqp.basic_publish(link->state, message->is_lasting ? CH_LASTING : CH_PASSING,
			       amqp.cstring_bytes(link->exchange), amqp.cstring_bytes(message->key),
			       0, 0, &properties, amqp.cstring_bytes(message->body));
	return status == AMQP_STATUS_OK ? P2P_OK : fail(err, "publishing", status);
}

/* --- what comes --- */

static int
take_blocked(struct broker_link *link, const amqp_connection_blocked_t *blocked,
	     struct link_news *ret)
{
	size_t len = blocked->reason.len < REASON_MAX ? blocked->reason.len : REASON_MAX;
	if (len > 0)
		memcpy(link->reason, blocked->reason.bytes, len);
	link->reason[len] = '\0';
	*ret = (struct link_news){ .what = LINK_BLOCKED, .data = link->reason, .len = len };
	return P2P_OK;
}

static int
take_method(struct broker_link *link, const amqp_method_t *method, struct link_news *ret,
	    struct error *err)
{
	switch (method->id) {
	case AMQP_BASIC_ACK_METHOD: {
		const amqp_basic_ack_t *ack = method->decoded;
		*ret = (struct link_news){ .what = LINK_CONFIRMED,
					   .tag = ack->delivery_tag,
					   .is_multiple = ack->multiple };
		return P2P_OK;
	}
	case AMQP_BASIC_NACK_METHOD: {
		const amqp_basic_nack_t *nack = method->decoded;
		*ret = (struct link_news){ .what = LINK_REFUSED,
					   .tag = nack->delivery_tag,
					   .is_multiple = nack->multiple };
		return P2P_OK;
	}
	case AMQP_BASIC_DELIVER_METHOD:
		link->in = IN_HEADER;
		return P2P_OK;
	case AMQP_CONNECTION_BLOCKED_METHOD:
		return take_blocked(link, method->decoded, ret);
	case AMQP_CONNECTION_UNBLOCKED_METHOD:
		ret->what = LINK_UNBLOCKED;
		return P2P_OK;
	case AMQP_BASIC_CANCEL_METHOD:
		return error_set(err, P2P_UNREACHABLE, "the broker took our queue away");
	default:
		return fail_method(err, "connected", method);
	}
}

static void
end_message(struct broker_link *link, struct link_news *ret)
{
	link->in = IN_NONE;
	link->data[link->len] = '\0';
	*ret = (struct link_news){ .what = link->is_kept ? LINK_MESSAGE : LINK_RUBBISH,
				   .data = link->data,
				   .len = link->len };
}

static void
take_header(struct broker_link *link, uint64_t body_size, struct link_news *ret)
{
	link->left = body_size;
	link->is_kept = body_size <= LINK_MESSAGE_MAX;
	link->len = 0;
	link->in = IN_BODY;
	if (body_size == 0)
		end_message(link, ret);
}

static int
take_body(struct broker_link *link, amqp_bytes_t part, struct link_news *ret, struct error *err)
{
	if (part.len > link->left)
		return error_set(err, P2P_BAD_ANSWER,
				 "the broker sends more of a message than it announced");
	if (link->is_kept && part.len > 0) {
		memcpy(link->data + link->len, part.bytes, part.len);
		link->len += part.len;
	}
	link->left -= part.len;
	if (link->left == 0)
		end_message(link, ret);
	return P2P_OK;
}

static int
take_frame(struct broker_link *link, const amqp_frame_t *frame, struct link_news *ret,
	   struct error *err)
{
	ret->what = LINK_OTHER;
	if (frame->frame_type == AMQP_FRAME_METHOD && link->in == IN_NONE)
		return take_method(link, &frame->payload.method, ret, err);
	/* Between the parts of a message only the connection itself and confirms may speak. */
	if (frame->frame_type == AMQP_FRAME_METHOD && frame->channel != CH_PASSING)
		return take_method(link, &frame->payload.method, ret, err);
	if (frame->frame_type == AMQP_FRAME_HEADER && link->in == IN_HEADER) {
		take_header(link, frame->payload.properties.body_size, ret);
		return P2P_OK;
	}
	if (frame->frame_type == AMQP_FRAME_BODY && link->in == IN_BODY)
		return take_body(link, frame->payload.body_fragment, ret, err);
	if (frame->frame_type == AMQP_FRAME_METHOD)
		return fail_method(err, "connected", &frame->payload.method);
	return error_set(err, P2P_BAD_ANSWER, "the broker sends a frame out of place");
}

int
link_next(struct broker_link *link, struct link_news *ret, struct error *err)
{
	struct timeval now = { 0, 0 };
	amqp_frame_t frame;
	*ret = (struct link_news){ .what = LINK_NOTHING };
	amqp.maybe_release_buffers(link->state);
	int status = amqp.simple_wait_frame_noblock(link->state, &frame, &now);
	if (status == AMQP_STATUS_TIMEOUT)
		return P2P_OK;
	if (status != AMQP_STATUS_OK)
		return fail(err, "connected", status);
	return take_frame(link, &frame, ret, err);
}

#else /* configured --without-amqp: broker_library_load() says so, and nobody comes here */

struct broker_link *
link_open(const struct link_terms *terms, struct link_guard *guard, struct error *err)
{
	(void)terms;
	(void)guard;
	broker_library_load(err);
	return NULL;
}

void
link_close(struct broker_link *link, bool is_well)
{
	(void)link;
	(void)is_well;
}

int
link_fd(const struct broker_link *link)
{
	(void)link;
	return -1;
}

int
link_publish(struct broker_link *link, const struct link_message *message, struct error *err)
{
	(void)link;
	(void)message;
	return broker_library_load(err);
}

int
link_next(struct broker_link *link, struct link_news *ret, struct error *err)
{
	(void)link;
	(void)ret;
	return broker_library_load(err);
}

#endif

void
link_guard_init(struct link_guard *guard)
{
	pthread_mutex_init(&guard->mu, NULL);
	guard->fd = -1;
}

void
link_guard_fini(struct link_guard *guard)
{
	pthread_mutex_destroy(&guard->mu);
}

void
link_break(struct link_guard *guard)
{
	pthread_mutex_lock(&guard->mu);
	if (guard->fd >= 0)
		shutdown(guard->fd, SHUT_RDWR);
	pthread_mutex_unlock(&guard->mu);
}
