/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages (RFC 1035, EDNS of RFC 6891): reading queries and answers of strangers, writing ours. */
#ifndef CORACLE_DNS_WIRE_H
#define CORACLE_DNS_WIRE_H

#include "common/base/base.h"

#define DNS_NAME_MAX 255       /* bytes of a name on the wire */
#define DNS_NAME_TEXT_MAX 1024 /* its text: every byte may need an escape of four */
#define DNS_MESSAGE_MAX 65535
#define DNS_UDP_DEFAULT 512
#define DNS_UDP_MAX 1232 /* what passes any path unfragmented (DNS flag day 2020) */

enum dns_type { DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_SOA = 6, DNS_PTR = 12, DNS_TXT = 16, DNS_AAAA = 28, DNS_SRV = 33, DNS_OPT = 41, DNS_ANY = 255 };
enum dns_class { DNS_IN = 1 };
enum dns_rcode { DNS_NOERROR = 0, DNS_FORMERR = 1, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_NOTIMP = 4, DNS_REFUSED = 5 };

#define DNS_FLAG_QR 0x8000
#define DNS_FLAG_AA 0x0400
#define DNS_FLAG_TC 0x0200
#define DNS_FLAG_RD 0x0100
#define DNS_FLAG_RA 0x0080

struct dns_question {
	uint16_t id, flags;
	uint16_t type, class;
	char name[DNS_NAME_TEXT_MAX];    /* lower case, no dot at the end; "" is the root */
	uint8_t wire_name[DNS_NAME_MAX]; /* as asked: its letters are echoed in the same case */
	uint16_t wire_name_len;
	bool edns;
	uint16_t udp_size; /* what the asker takes over UDP, within [512, DNS_UDP_MAX] */
	bool dnssec_ok;
};
/*
 * Reads a query of `len` bytes. Returns DNS_NOERROR, or the rcode to answer with (FORMERR, NOTIMP); -1: too broken to
 * answer, or itself an answer. On an rcode id and flags are valid, the question perhaps not.
 */
int dns_parse_query(const uint8_t *message, size_t len, struct dns_question *ret);

/* Reads the name at *offset, following pointers (each must point backwards), into lower-case text. *offset is moved past it. Returns false where it is malformed. */
bool dns_read_name(const uint8_t *message, size_t len, size_t *offset, char text[DNS_NAME_TEXT_MAX]);
/* Text to wire form (without compression). Returns its length, or 0 where a label or the whole is too long or empty. */
size_t dns_name_to_wire(const char *text, uint8_t out[DNS_NAME_MAX]);

/* One record of a message, as an iterator sees it. */
struct dns_record {
	char name[DNS_NAME_TEXT_MAX];
	uint16_t type, class;
	uint32_t ttl;
	size_t ttl_offset, data_offset;
	uint16_t data_len;
};
struct dns_reader {
	const uint8_t *message;
	size_t len, offset;
	unsigned left[3]; /* answers, authorities, additionals still to come */
	uint16_t flags;
};
/* Starts behind the question. Returns false where the header or question is malformed. */
bool dns_reader_init(struct dns_reader *reader, const uint8_t *message, size_t len);
/* Returns 1 and the next record (section 0..2 in *ret_section), 0 at the end, -1 where it is malformed. */
int dns_reader_next(struct dns_reader *reader, struct dns_record *ret, unsigned *ret_section);

/* ---- writing ---- */

struct dns_writer {
	uint8_t *out;
	size_t len, max;
	uint16_t counts[3];
	bool truncated;           /* a record did not fit: TC is set, nothing more is taken */
	uint16_t question_offset; /* where the question's name stands, for pointers */
	const char *question_name;
	bool edns;
};
/* Begins an answer to `question` in out[max >= 512]: header, question, and room kept for OPT. */
void dns_write_begin(struct dns_writer *writer, uint8_t *out, size_t max, const struct dns_question *question, int rcode, bool authoritative);
/* section: 0 answer, 1 authority, 2 additional. Whole records only. Names are texts. */
void dns_write_record(struct dns_writer *writer, unsigned section, const char *name, uint16_t type, uint32_t ttl, const void *data, uint16_t data_len);
/* The data begins with `prefix_len` bytes and ends in a name (CNAME, PTR, NS: prefix 0; SRV: 6). */
void dns_write_name_record(struct dns_writer *writer, unsigned section, const char *name, uint16_t type, uint32_t ttl, const void *prefix, uint16_t prefix_len,
	const char *target);
/* Finishes counts, flags and OPT. Returns the message's length. */
size_t dns_write_end(struct dns_writer *writer);

#endif
