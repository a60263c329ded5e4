/* SPDX-License-Identifier: Apache-2.0 */
/* Watches: one JSON document a line, {"type":"ADDED","object":{...}}. */
#include "common/client/internal.h"

#include <errno.h>

void watch_frames_init(struct watch_frames *frames, client_event_fn on_event, void *arg, struct error *err)
{
	*frames = (struct watch_frames){.pending = BUF_INIT(CLIENT_MAX_EVENT), .on_event = on_event, .arg = arg, .err = err};
}

void watch_frames_done(struct watch_frames *frames)
{
	buf_done(&frames->pending);
}

static bool stop(struct watch_frames *frames, int result)
{
	frames->stopped = true;
	frames->result = result;
	return false;
}

/*
 * The two members of an event. As servers write them, the type first and nothing behind the object, the object is what is left of the line: to look for its
 * end would be to read all of it once more than who decodes it does.
 */
static bool split_event(const char *line, size_t len, struct json_slice *ret_type, struct json_slice *ret_object)
{
	static const char head[] = "{\"type\":\"", middle[] = "\",\"object\":{";
	if (len > sizeof(head) && memcmp(line, head, sizeof(head) - 1) == 0 && line[len - 1] == '}') {
		const char *type = line + sizeof(head) - 1, *end = memchr(type, '"', len - (sizeof(head) - 1));
		if (end && (size_t)(line + len - end) > sizeof(middle) && memcmp(end, middle, sizeof(middle) - 1) == 0) {
			const char *object = end + sizeof(middle) - 2;
			*ret_type = (struct json_slice){.data = type - 1, .len = (size_t)(end + 1 - (type - 1))};
			*ret_object = (struct json_slice){.data = object, .len = (size_t)(line + len - 1 - object)};
			return true;
		}
	}
	return json_scan_member(line, len, "type", ret_type) == 0 && json_scan_member(line, len, "object", ret_object) == 0 && ret_object->data;
}

static bool take_event(struct watch_frames *frames, const char *line, size_t len)
{
	while (len && (line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	if (!len)
		return true;
	struct json_slice type_slice, object;
	autofree char *type = NULL;
	if (split_event(line, len, &type_slice, &object))
		type = json_scan_string(&type_slice);
	if (!type)
		return stop(frames, error_set(frames->err, EPROTO, "unable to decode an event from the watch stream"));
	if (str_equal(type, "ERROR"))
		return stop(frames, client_error_from_status(frames->err, object.data, object.len));
	autoerror struct error err = {0};
	if (frames->on_event(type, object.data, object.len, frames->arg, &err))
		return true;
	return stop(frames, err.errnum ? error_move(frames->err, &err) : 0);
}

bool watch_frames_feed(const char *data, size_t len, void *arg)
{
	struct watch_frames *frames = arg;
	while (len && !frames->stopped) {
		const char *end = memchr(data, '\n', len);
		if (!end) {
			buf_append(&frames->pending, data, len);
			if (buf_failed(&frames->pending))
				return stop(frames, error_set(frames->err, EFBIG, "a watch event is larger than %u bytes", CLIENT_MAX_EVENT));
			return true;
		}
		size_t line = (size_t)(end - data);
		if (frames->pending.len) {
			buf_append(&frames->pending, data, line);
			if (buf_failed(&frames->pending))
				return stop(frames, error_set(frames->err, EFBIG, "a watch event is larger than %u bytes", CLIENT_MAX_EVENT));
			take_event(frames, frames->pending.data, frames->pending.len);
			buf_reset(&frames->pending);
		} else {
			take_event(frames, data, line);
		}
		data += line + 1;
		len -= line + 1;
	}
	return !frames->stopped;
}

int client_watch_raw(struct client *client, const struct client_request *request, client_event_fn on_event, void *arg, int cancel_fd, struct error *err)
{
	struct watch_frames frames;
	watch_frames_init(&frames, on_event, arg, err);
	int rc = client_stream(client, request, watch_frames_feed, &frames, cancel_fd, err);
	if (frames.stopped)
		rc = frames.result;
	watch_frames_done(&frames);
	return rc;
}
