/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dictionary that primes the compression of headers, SPDY/3 draft section 2.6.10.1: words, each after its length in 32 bits, and
 * a tail of fragments without lengths.
 */
#include "common/http/spdy_internal.h"

#include <pthread.h>

static const char *const words[] = {
	"options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding", "accept-language",
	"accept-ranges", "age", "allow", "authorization", "cache-control", "connection", "content-base", "content-encoding",
	"content-language", "content-length", "content-location", "content-md5", "content-range", "content-type", "date", "etag", "expect",
	"expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified",
	"location", "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "range", "referer", "retry-after", "server", "te",
	"trailer", "transfer-encoding", "upgrade", "user-agent", "vary", "via", "warning", "www-authenticate", "method", "get", "status",
	"200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin",
};
static const char tail[] =
	"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Informat"
	"ion204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error"
	"501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, "
	"Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/"
	"javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static uint8_t dictionary[SPDY_DICTIONARY_LEN];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void build(void)
{
	uint8_t *at = dictionary;
	for (size_t i = 0; i < array_len(words); i++) {
		size_t len = strlen(words[i]);
		at[0] = at[1] = at[2] = 0;
		at[3] = (uint8_t)len;
		memcpy(at + 4, words[i], len);
		at += 4 + len;
	}
	memcpy(at, tail, sizeof(tail) - 1);
}

const uint8_t *spdy_dictionary(void)
{
	pthread_once(&once, build);
	return dictionary;
}
