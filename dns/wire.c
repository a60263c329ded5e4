/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/wire.h"

#include <ctype.h>

#define HEADER_LEN 12
#define OPT_LEN 11
#define LABEL_MAX 63

static uint16_t get16(const uint8_t *p) {
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v) {
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* ---- names ---- */

static size_t append_label(char *text, size_t at, const uint8_t *label, unsigned len) {
	for (unsigned i = 0; i < len; i++) {
		uint8_t c = label[i];
		if (c == '.' || c == '\\') {
			text[at++] = '\\';
			text[at++] = (char)c;
		} else if (c > ' ' && c < 0x7f) {
			text[at++] = (char)tolower(c);
		} else { /* \DDD, as zone files write it (RFC 1035 section 5.1) */
			text[at++] = '\\';
			text[at++] = (char)('0' + c / 100);
			text[at++] = (char)('0' + c / 10 % 10);
			text[at++] = (char)('0' + c % 10);
		}
	}
	return at;
}

bool dns_read_name(const uint8_t *message, size_t len, size_t *offset, char text[DNS_NAME_TEXT_MAX]) {
	size_t at = *offset, out = 0, wire_len = 1, end = 0;
	size_t limit = at; /* pointers must go below what was read so far, which also ends every loop */
	for (;;) {
		if (at >= len)
			return false;
		unsigned label = message[at];
		if ((label & 0xc0) == 0xc0) {
			if (at + 1 >= len)
				return false;
			size_t target = (size_t)(label & 0x3f) << 8 | message[at + 1];
			if (!end)
				end = at + 2;
			if (target >= limit)
				return false;
			at = limit = target;
			continue;
		}
		if (label > LABEL_MAX)
			return false;
		if (label == 0) {
			if (!end)
				end = at + 1;
			break;
		}
		wire_len += label + 1;
		if (at + 1 + label > len || wire_len > DNS_NAME_MAX)
			return false;
		if (out)
			text[out++] = '.';
		out = append_label(text, out, message + at + 1, label);
		at += label + 1;
	}
	text[out] = '\0';
	*offset = end;
	return true;
}

static bool is_decimal_escape(const char *text) {
	return isdigit((uint8_t)text[0]) && isdigit((uint8_t)text[1]) && isdigit((uint8_t)text[2]);
}

size_t dns_name_to_wire(const char *text, uint8_t out[DNS_NAME_MAX]) {
	size_t at = 0;
	while (*text) {
		size_t start = at++;
		if (start >= DNS_NAME_MAX - 1)
			return 0;
		while (*text && *text != '.') {
			unsigned c = (uint8_t)*text++;
			if (c == '\\' && is_decimal_escape(text)) {
				c = (unsigned)((text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0'));
				text += 3;
			} else if (c == '\\' && *text) {
				c = (uint8_t)*text++;
			}
			if (c > 255 || at - start > LABEL_MAX || at >= DNS_NAME_MAX - 1)
				return 0;
			out[at++] = (uint8_t)c;
		}
		if (at - start == 1)
			return 0;
		out[start] = (uint8_t)(at - start - 1);
		if (*text == '.')
			text++;
	}
	out[at++] = 0;
	return at;
}

/* ---- reading ---- */

static void read_opt(const uint8_t *message, size_t len, struct dns_question *ret) {
	struct dns_reader reader;
	struct dns_record record;
	unsigned section;
	if (!dns_reader_init(&reader, message, len))
		return;
	while (dns_reader_next(&reader, &record, &section) == 1) {
		if (record.type != DNS_OPT)
			continue;
		ret->edns = true;
		ret->udp_size = min_of(max_of(record.class, (uint16_t)DNS_UDP_DEFAULT), (uint16_t)DNS_UDP_MAX);
		ret->dnssec_ok = record.ttl & 0x8000;
	}
}

int dns_parse_query(const uint8_t *message, size_t len, struct dns_question *ret) {
	if (len < HEADER_LEN)
		return -1;
	ret->id = get16(message);
	ret->flags = get16(message + 2);
	ret->edns = ret->dnssec_ok = false;
	ret->udp_size = DNS_UDP_DEFAULT;
	ret->wire_name_len = 0;
	ret->name[0] = '\0';
	ret->type = ret->class = 0;
	if (ret->flags & DNS_FLAG_QR)
		return -1;
	if ((ret->flags >> 11 & 0xf) != 0)
		return DNS_NOTIMP;
	if (get16(message + 4) != 1)
		return DNS_FORMERR;
	size_t offset = HEADER_LEN;
	if (!dns_read_name(message, len, &offset, ret->name) || offset + 4 > len || offset - HEADER_LEN > DNS_NAME_MAX)
		return DNS_FORMERR;
	ret->wire_name_len = (uint16_t)(offset - HEADER_LEN);
	memcpy(ret->wire_name, message + HEADER_LEN, ret->wire_name_len);
	ret->type = get16(message + offset);
	ret->class = get16(message + offset + 2);
	read_opt(message, len, ret);
	return DNS_NOERROR;
}

bool dns_reader_init(struct dns_reader *reader, const uint8_t *message, size_t len) {
	char name[DNS_NAME_TEXT_MAX];
	if (len < HEADER_LEN)
		return false;
	size_t offset = HEADER_LEN;
	for (unsigned questions = get16(message + 4); questions; questions--) {
		if (!dns_read_name(message, len, &offset, name) || offset + 4 > len)
			return false;
		offset += 4;
	}
	*reader = (struct dns_reader){.message = message, .len = len, .offset = offset, .flags = get16(message + 2)};
	for (unsigned i = 0; i < 3; i++)
		reader->left[i] = get16(message + 6 + 2 * i);
	return true;
}

int dns_reader_next(struct dns_reader *reader, struct dns_record *ret, unsigned *ret_section) {
	unsigned section = 0;
	while (section < 3 && !reader->left[section])
		section++;
	if (section == 3)
		return 0;
	size_t offset = reader->offset;
	if (!dns_read_name(reader->message, reader->len, &offset, ret->name) || offset + 10 > reader->len)
		return -1;
	const uint8_t *fixed = reader->message + offset;
	ret->type = get16(fixed);
	ret->class = get16(fixed + 2);
	ret->ttl = (uint32_t)get16(fixed + 4) << 16 | get16(fixed + 6);
	ret->ttl_offset = offset + 4;
	ret->data_len = get16(fixed + 8);
	ret->data_offset = offset + 10;
	if (ret->data_offset + ret->data_len > reader->len)
		return -1;
	reader->offset = ret->data_offset + ret->data_len;
	reader->left[section]--;
	*ret_section = section;
	return 1;
}

/* ---- writing ---- */

void dns_write_begin(struct dns_writer *writer, uint8_t *out, size_t max, const struct dns_question *question, int rcode, bool authoritative) {
	*writer = (struct dns_writer){.out = out, .max = max, .edns = question->edns, .question_name = question->name};
	uint16_t flags = (uint16_t)(DNS_FLAG_QR | DNS_FLAG_RA | (question->flags & (DNS_FLAG_RD | 0x7800)) | (authoritative ? DNS_FLAG_AA : 0) | rcode);
	memset(out, 0, HEADER_LEN);
	put16(out, question->id);
	put16(out + 2, flags);
	writer->len = HEADER_LEN;
	if (question->wire_name_len) {
		put16(out + 4, 1);
		writer->question_offset = HEADER_LEN;
		memcpy(out + HEADER_LEN, question->wire_name, question->wire_name_len);
		writer->len += question->wire_name_len;
		put16(out + writer->len, question->type);
		put16(out + writer->len + 2, question->class);
		writer->len += 4;
	}
	if (writer->edns)
		writer->max -= OPT_LEN;
}

/* The question's name, or a tail of it, becomes a pointer: nearly all answers carry no other name. Returns 0 where `name` is no such tail. */
static size_t compressed_name(const struct dns_writer *writer, const char *name, uint8_t *out) {
	if (!writer->question_offset || !*name)
		return 0;
	size_t question = strlen(writer->question_name), len = strlen(name);
	if (len > question || strcmp(writer->question_name + question - len, name) != 0 || (len < question && writer->question_name[question - len - 1] != '.') ||
		strchr(writer->question_name, '\\'))
		return 0;
	/* Without escapes text and wire run in step: a label that starts at byte n of the text has its length at byte n of the wire form. */
	put16(out, (uint16_t)(0xc000 | (writer->question_offset + question - len)));
	return 2;
}

static size_t write_name(const struct dns_writer *writer, const char *name, uint8_t out[DNS_NAME_MAX]) {
	size_t len = compressed_name(writer, name, out);
	return len ? len : dns_name_to_wire(name, out);
}

static void append_record(struct dns_writer *writer, unsigned section, const char *name, uint16_t type, uint32_t ttl, const void *data, size_t data_len, const void *tail,
	size_t tail_len) {
	uint8_t owner[DNS_NAME_MAX];
	size_t owner_len = write_name(writer, name, owner);
	if (writer->truncated || !owner_len)
		return;
	if (writer->len + owner_len + 10 + data_len + tail_len > writer->max) {
		/* Missing additionals hurt nobody; anything else must be asked for again over TCP. */
		if (section < 2)
			writer->truncated = true;
		return;
	}
	uint8_t *p = writer->out + writer->len;
	memcpy(p, owner, owner_len);
	p += owner_len;
	put16(p, type);
	put16(p + 2, DNS_IN);
	put16(p + 4, (uint16_t)(ttl >> 16));
	put16(p + 6, (uint16_t)ttl);
	put16(p + 8, (uint16_t)(data_len + tail_len));
	if (data_len)
		memcpy(p + 10, data, data_len);
	if (tail_len)
		memcpy(p + 10 + data_len, tail, tail_len);
	writer->len += owner_len + 10 + data_len + tail_len;
	writer->counts[section]++;
}

void dns_write_record(struct dns_writer *writer, unsigned section, const char *name, uint16_t type, uint32_t ttl, const void *data, uint16_t data_len) {
	append_record(writer, section, name, type, ttl, data, data_len, NULL, 0);
}

void dns_write_name_record(struct dns_writer *writer, unsigned section, const char *name, uint16_t type, uint32_t ttl, const void *prefix, uint16_t prefix_len,
	const char *target) {
	uint8_t wire[DNS_NAME_MAX];
	/* RFC 2782: the target of SRV is not compressed. */
	size_t len = prefix_len ? dns_name_to_wire(target, wire) : write_name(writer, target, wire);
	if (len)
		append_record(writer, section, name, type, ttl, prefix, prefix_len, wire, len);
}

size_t dns_write_end(struct dns_writer *writer) {
	if (writer->truncated)
		writer->out[2] |= DNS_FLAG_TC >> 8;
	if (writer->edns) {
		uint8_t *p = writer->out + writer->len;
		memset(p, 0, OPT_LEN);
		put16(p + 1, DNS_OPT);
		put16(p + 3, DNS_UDP_MAX);
		writer->len += OPT_LEN;
		writer->counts[2]++;
	}
	for (unsigned i = 0; i < 3; i++)
		put16(writer->out + 6 + 2 * i, writer->counts[i]);
	return writer->len;
}
